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

// Rounds the first `rows` rows of x to 8 bits, as roundRow() writes them.
std::unique_ptr<Step> makeRoundStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y);

// Packs the first `rows` rows of x into tiles, as packTiles() writes them for a sum by lane.
std::unique_ptr<Step> makePackStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y);

// Copies the given rows of x.
std::unique_ptr<Step> makeSelectRowsStep(const ggml_tensor* x, std::vector<int64_t> rows,
                                         const ggml_tensor* y);

}  // namespace gpt2
