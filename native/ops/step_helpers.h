#pragma once

#include <ggml.h>

#include <cstdint>

#include "kernels/matrix_product.h"

// Helpers that the steps of FusedOps share.

namespace gpt2 {

// The elements of an f32 tensor.
inline float* floats(const ggml_tensor* tensor) { return static_cast<float*>(tensor->data); }

inline int64_t roundUp(int64_t number, int64_t multiple) {
  return (number + multiple - 1) / multiple * multiple;
}

// The number of chunks of `size` that cover `length`; the last may be shorter.
inline int chunkCount(int64_t length, int64_t size) {
  return static_cast<int>((length + size - 1) / size);
}

}  // namespace gpt2
