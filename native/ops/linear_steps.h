#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>

#include "base/thread_pool.h"
#include "ops/ops.h"

// Steps of linear layers: y = activation(weight · x + bias) + residual.

namespace gpt2 {

struct LinearOperands {
  const ggml_tensor* x;
  Linear linear;
  Activation activation;
  const ggml_tensor* residual;  // [out, tokens] or null
  int64_t tokens;
  const ggml_tensor* y;
};

// x: rows, [in, tokens], or for quantised weights the output of a quantise step. y: rows. Reads the
// weights where they are mapped, once for every few tokens: suits decoding.
std::unique_ptr<Step> makeRowsLinearStep(const LinearOperands& operands);

// x: tiles, as packTiles() writes them. y: tiles if `packsOutput`, else rows. Packs the weights,
// which pays from about 12 tokens on (docs/performance.md): suits prefill.
std::unique_ptr<Step> makePackedLinearStep(const LinearOperands& operands, bool packsOutput);

}  // namespace gpt2
