#pragma once

#include <atomic>

#include "base/error.h"

namespace gpt2 {

// Set by one thread to stop the work of another.
using CancelFlag = std::atomic<bool>;

// Throws ABORTED if the flag is set; null counts as not set.
inline void throwIfCancelled(const CancelFlag* cancelled) {
  if (cancelled != nullptr && *cancelled) throw Error(code::kAborted, "the work was stopped");
}

}  // namespace gpt2
