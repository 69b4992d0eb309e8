#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// to[j][i] = from[i][j] for i < rows, j < columns. `fromStride` and `toStride` are the distances
// from row to row, in elements.
void transpose(const float* from, size_t fromStride, int64_t rows, int64_t columns, float* to,
               size_t toStride);

}  // namespace gpt2
