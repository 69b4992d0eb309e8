#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "model/session.h"

namespace gpt2 {

// What a pass returns for a token: the logits of the token that follows it, [vocabulary], or its
// hidden state after the final norm, [width].
enum class OutputKind { kLogits, kHidden };

// The tokens of one session in a batch, that is, in one forward pass.
struct BatchEntry {
  Session* session;
  int64_t count;  // of tokens, from the first that has not been evaluated on
  // The tokens that have an output, counted from the entry's first; ascending.
  std::vector<int64_t> outputRows;
  OutputKind output = OutputKind::kLogits;
};

// Outputs of an entry: all of them if they are at most ForwardPass::kMaxHeadRows, else the next so
// many.
struct Outputs {
  size_t entry;
  size_t first;  // of the entry's outputRows
  size_t count;
  const float* rows;  // [vocabulary or width, count], valid during the call
};

// Receives outputs, in order for each entry. Entries are received on the threads of the pool at the
// same time. Must not throw.
using OutputSink = std::function<void(const Outputs&)>;

}  // namespace gpt2
