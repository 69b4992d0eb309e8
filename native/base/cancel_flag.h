#pragma once

#include <atomic>

#include "base/error.h"

namespace gpt2 {

// Set by another thread to stop the work that was given it.
using CancelFlag = std::atomic<bool>;

// Throws ABORTED if the flag is there and set.
inline void throwIfCancelled(const CancelFlag* cancelled) {
  if (cancelled != nullptr && *cancelled) throw Error(code::kAborted, "the work was stopped");
}

}  // namespace gpt2
