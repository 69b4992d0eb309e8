#pragma once

#include "kernels/levels/simd.h"

namespace gpt2::GPT2_LEVEL {

using simd::Floats;
using simd::kLanes;

// Works on squares that fit the registers. Rows whose distance is a power of two map to few sets of
// the cache, so walking down a whole column would evict every line before its next element is read.
void transpose(const float* from, size_t fromStride, int64_t rows, int64_t columns, float* to,
               size_t toStride) {
  const auto source = [&](int64_t i, int64_t j) {
    return from + static_cast<size_t>(i) * fromStride + j;
  };
  const auto target = [&](int64_t i, int64_t j) {
    return to + static_cast<size_t>(j) * toStride + i;
  };
  for (int64_t i = 0; i < rows; i += kLanes) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      if (i + kLanes <= rows && j + kLanes <= columns) {
        Floats square[kLanes];
#pragma GCC unroll 16
        for (int64_t n = 0; n < kLanes; ++n) square[n] = simd::load(source(i + n, j));
        simd::transpose(square);
#pragma GCC unroll 16
        for (int64_t n = 0; n < kLanes; ++n) simd::store(target(i, j + n), square[n]);
        continue;
      }
      for (int64_t row = i; row < i + kLanes && row < rows; ++row) {
        for (int64_t column = j; column < j + kLanes && column < columns; ++column) {
          *target(row, column) = *source(row, column);
        }
      }
    }
  }
}

}  // namespace gpt2::GPT2_LEVEL
