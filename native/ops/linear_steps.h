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

// x: rows, [in, tokens]. y: rows. Reads the weights where they are mapped, once for every few
// tokens: suits decoding. Quantised weights are widened.
std::unique_ptr<Step> makeRowsLinearStep(const LinearOperands& operands);

// x: tiles, as packTiles() writes them. y: tiles if `packsOutput`, else rows. Packs the weights,
// which pays from about 12 tokens on (docs/performance.md): suits prefill.
std::unique_ptr<Step> makePackedLinearStep(const LinearOperands& operands, bool packsOutput);

// x: rounded rows, as roundRow() writes them, for weights of an integer type. y: rows.
std::unique_ptr<Step> makeRoundedLinearStep(const LinearOperands& operands);

}  // namespace gpt2
