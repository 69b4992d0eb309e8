#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

#include "kernels/levels/simd.h"
#include "kernels/matrix_product.h"

// Vectors of the elements of a Matrix, for the products.

namespace gpt2::GPT2_LEVEL {

constexpr size_t kCacheLineBytes = 64;

struct F32Loader {
  using Element = float;
  static simd::Floats load(const float* from) { return simd::load(from); }
  static simd::Floats loadUpTo(const float* from, int64_t count) {
    return simd::loadUpTo(from, count);
  }
};
struct F16Loader {
  using Element = uint16_t;
  static simd::Floats load(const uint16_t* from) { return simd::loadF16(from); }
  static simd::Floats loadUpTo(const uint16_t* from, int64_t count) {
    return simd::loadF16UpTo(from, count);
  }
};
struct Bf16Loader {
  using Element = uint16_t;
  static simd::Floats load(const uint16_t* from) { return simd::loadBf16(from); }
  static simd::Floats loadUpTo(const uint16_t* from, int64_t count) {
    return simd::loadBf16UpTo(from, count);
  }
};

inline const uint8_t* rowAt(const Matrix& w, int64_t row) {
  return static_cast<const uint8_t*>(w.data) + static_cast<size_t>(row) * w.rowBytes;
}

// The first kLanes of `count` elements; zeros if there are fewer, and for count ≤ 0.
template <class Loader>
simd::Floats loadClamped(const typename Loader::Element* from, int64_t count) {
  return count > 0 ? Loader::loadUpTo(from, count) : simd::Floats{};
}

}  // namespace gpt2::GPT2_LEVEL
