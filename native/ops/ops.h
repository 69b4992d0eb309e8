#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"

namespace gpt2 {

// y = weight · x + bias. weight: ggml shape [in, out], that is, `out` rows of `in` elements; bias:
// [out] in f32, or null if the model has none.
struct Linear {
  ggml_tensor* weight;
  ggml_tensor* bias;
};

// Layer normalisation. weight (the scale): [width] in f32; bias (the shift): [width] in f32 or
// null; epsilon is added to the variance.
struct LayerNorm {
  ggml_tensor* weight;
  ggml_tensor* bias;
  float epsilon;
};

// How the `width` elements of a hidden state are divided into attention heads.
struct AttentionShape {
  int64_t width;
  int64_t headCount;

  int64_t headSize() const { return width / headCount; }
};

// Which tokens of a pass: all, or those whose hidden states the pass returns.
enum class Rows { kAll, kOutput };

// The operators that GPT-2 is made of. The transformer is written once in terms of them; each
// implementation turns an operator into nodes of a ggml graph.
//
// Shapes are ggml's: the contiguous dimension comes first. `tokens` is the number of tokens in this
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

  // Appends this pass's keys and values to the cache of `layer`; each token then attends to itself
  // and to all earlier positions. qkv: [3 × width, tokens] → [width, rows]
  virtual ggml_tensor* attention(ggml_tensor* qkv, size_t layer, Rows rows) = 0;

  // Keeps the output rows only. x: [width, tokens] → [width, output rows]. Operators that follow
  // work on these rows: `tokens` is their number.
  virtual ggml_tensor* selectOutputRows(ggml_tensor* x) = 0;
  // A copy of the output rows. Operators that follow still work on all tokens.
  virtual ggml_tensor* copyOutputRows(ggml_tensor* x) = 0;
};

}  // namespace gpt2
