#pragma once

#include <cstring>

#include "base/tensor_type.h"
#include "kernels/levels/simd.h"

namespace gpt2::GPT2_LEVEL {

// On other instruction sets the code below has not been measured against ggml's.
#if defined(GPT2_AVX512) || defined(GPT2_AVX2)
#define GPT2_WIDENS_BLOCKS
#endif

#ifdef GPT2_WIDENS_BLOCKS
namespace {

using simd::Floats;
using simd::Ints;
using simd::kLanes;

// A block of either type is a scale in f16 and the elements that it applies to
// (https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h).
constexpr int64_t kBlock = 32;
constexpr size_t kScaleBytes = sizeof(uint16_t);

// Sign-extends kLanes bytes.
Ints loadBytes(const uint8_t* from) {
#if defined(GPT2_AVX512)
  return reinterpret_cast<Ints>(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
  return reinterpret_cast<Ints>(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#endif
}

Floats toFloats(Ints values) { return __builtin_convertvector(values, Floats); }

Floats loadScale(const uint8_t* block) {
  uint16_t scale;
  std::memcpy(&scale, block, sizeof scale);
  return simd::broadcastF16(scale);
}

// An element is a signed byte.
void widenQ8Block(const uint8_t* block, float* to) {
  const Floats scale = loadScale(block);
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    simd::store(to + i, toFloats(loadBytes(block + kScaleBytes + i)) * scale);
  }
}

// An element is four bits, minus 8. The lower bits of the bytes hold the first half of the block,
// the upper bits the second half.
void widenQ4Block(const uint8_t* block, float* to) {
  const Floats scale = loadScale(block);
  for (int64_t i = 0; i < kBlock / 2; i += kLanes) {
    const Ints bytes = loadBytes(block + kScaleBytes + i);
    simd::store(to + i, toFloats((bytes & 15) - 8) * scale);
    simd::store(to + kBlock / 2 + i, toFloats((bytes >> 4 & 15) - 8) * scale);
  }
}

}  // namespace
#endif

void widenRow(ggml_type type, const void* from, float* to, int64_t count) {
  [[maybe_unused]] const size_t blockBytes = ggml_type_size(type);
  [[maybe_unused]] const auto* block = static_cast<const uint8_t*>(from);
  switch (type) {
#ifdef GPT2_WIDENS_BLOCKS
    case GGML_TYPE_Q8_0:
      for (int64_t i = 0; i < count; i += kBlock, block += blockBytes) widenQ8Block(block, to + i);
      return;
    case GGML_TYPE_Q4_0:
      for (int64_t i = 0; i < count; i += kBlock, block += blockBytes) widenQ4Block(block, to + i);
      return;
#endif
    default:
      widen(type, from, to, count);
  }
}

}  // namespace gpt2::GPT2_LEVEL
