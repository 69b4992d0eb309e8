#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "ops/ops.h"

// Steps that work row by row. x is the input and y the output, both allocated by the time that the
// step runs.

namespace gpt2 {

// Layer normalisation of the first `tokens` rows of x. packsOutput: y holds tiles, as packTiles()
// writes them, instead of rows.
std::unique_ptr<Step> makeNormStep(const ggml_tensor* x, const LayerNorm& norm, int64_t tokens,
                                   bool packsOutput, const ggml_tensor* y);

// Converts the rows of x to `type`, the type that the dot product of a quantised weight expects.
std::unique_ptr<Step> makeQuantizeStep(const ggml_tensor* x, ggml_type type, const ggml_tensor* y);

// Copies the given rows of x.
std::unique_ptr<Step> makeSelectRowsStep(const ggml_tensor* x, std::vector<int64_t> rows,
                                         const ggml_tensor* y);

}  // namespace gpt2
