#pragma once

#include <cstdint>
#include <vector>

#include "model/session.h"

namespace gpt2 {

// The tokens of one session in a batch, that is, in one forward pass.
struct BatchEntry {
  Session* session;
  int64_t count;  // of tokens, from the first that has not been evaluated on
  // The tokens whose hidden states or logits the pass returns, counted from the entry's first;
  // ascending.
  std::vector<int64_t> outputRows;
};

}  // namespace gpt2
