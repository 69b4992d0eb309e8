#pragma once

#include <ggml.h>

#include "model/weights.h"

namespace gpt2 {

enum class Activation { kNone, kGelu };

// Of the tokens of a pass: all, or those whose hidden states were asked for.
enum class Rows { kAll, kAskedFor };

// The operators that GPT-2 is made of. The transformer is written once in terms of them; a set of
// operators says how each becomes nodes of a ggml graph.
//
// Shapes are ggml's: the contiguous dimension first. `tokens` is the number of positions in this
// pass.
class Ops {
 public:
  Ops() = default;
  virtual ~Ops() = default;
  Ops(const Ops&) = delete;
  Ops& operator=(const Ops&) = delete;

  // x: [width, tokens] → [width, tokens]
  virtual ggml_tensor* norm(ggml_tensor* x, const LayerNorm& norm) = 0;

  // activation(weight · x + bias) + residual. x: [in, tokens]; residual: [out, tokens] or null
  // → [out, tokens]
  virtual ggml_tensor* linear(ggml_tensor* x, const Linear& linear, Activation activation,
                              ggml_tensor* residual) = 0;

  // Appends this pass's keys and values to the cache of `layer`, then lets positions attend to
  // themselves and all before them. qkv: [3 × width, tokens] → [width, rows]
  virtual ggml_tensor* attention(ggml_tensor* qkv, size_t layer, Rows rows) = 0;

  // x: [width, tokens] → [width, rows asked for]. From here on, `tokens` are these.
  virtual ggml_tensor* askedFor(ggml_tensor* x) = 0;
};

}  // namespace gpt2
