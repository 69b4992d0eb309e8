#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "model/session.h"

namespace gpt2 {

// What a pass returns for a token: the logits of the token that follows it, [vocabulary], its
// hidden state after the final norm, or the residual stream after some of the layers, [width].
enum class OutputKind { kLogits, kHidden, kResidual };

// The tokens of one session in a batch, that is, in one forward pass.
struct BatchEntry {
  Session* session;
  int64_t count;  // of tokens, from the first that has not been evaluated on
  // The tokens that have an output, counted from the entry's first; ascending.
  std::vector<int64_t> outputRows;
  OutputKind output = OutputKind::kLogits;
  int64_t layers = 0;  // of the residual stream: after so many, fewer than the model has
};

// An output of an entry.
struct Output {
  size_t entry;
  size_t index;      // of the entry's outputRows
  const float* row;  // [vocabulary or width], valid during the call
};

// Receives outputs on the threads of the pool, several at the same time. Must not throw.
using OutputSink = std::function<void(const Output&)>;

}  // namespace gpt2
