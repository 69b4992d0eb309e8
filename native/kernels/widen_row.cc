#include "widen_row.h"

#include <cstring>

#include "simd.h"
#include "tensor_type.h"

namespace gpt2 {

namespace {

using simd::Floats;
using simd::kLanes;

// Of both types: a scale in f16 and the numbers that it is for
// (https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h).
constexpr int64_t kBlock = 32;
constexpr size_t kScaleBytes = sizeof(uint16_t);

typedef int8_t Bytes __attribute__((vector_size(kLanes)));

Bytes loadBytes(const uint8_t* from) {
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

// What the vector extension makes of this conversion is several times slower.
Floats toFloats(Bytes bytes) {
#if defined(GPT2_AVX512)
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(bytes)));
#elif defined(GPT2_AVX2)
  __m128i lower{};
  std::memcpy(&lower, &bytes, sizeof bytes);
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(lower));
#else
  return __builtin_convertvector(bytes, Floats);
#endif
}

Floats loadScale(const uint8_t* block) {
  uint16_t scale;
  std::memcpy(&scale, block, sizeof scale);
  return simd::broadcastHalf(scale);
}

// A number is a byte.
void widenQ8Block(const uint8_t* block, float* to) {
  const Floats scale = loadScale(block);
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    simd::store(to + i, toFloats(loadBytes(block + kScaleBytes + i)) * scale);
  }
}

// A number is half a byte, less 8: the first half of the block in the lower halves of the bytes.
void widenQ4Block(const uint8_t* block, float* to) {
  const Floats scale = loadScale(block);
  for (int64_t i = 0; i < kBlock / 2; i += kLanes) {
    const Bytes bytes = loadBytes(block + kScaleBytes + i);
    simd::store(to + i, toFloats((bytes & 15) - 8) * scale);
    simd::store(to + kBlock / 2 + i, toFloats(((bytes >> 4) & 15) - 8) * scale);
  }
}

}  // namespace

void widenRow(ggml_type type, const void* from, float* to, int64_t count) {
  const size_t blockBytes = ggml_type_size(type);
  const auto* block = static_cast<const uint8_t*>(from);
  switch (type) {
    case GGML_TYPE_Q8_0:
      for (int64_t i = 0; i < count; i += kBlock, block += blockBytes) widenQ8Block(block, to + i);
      return;
    case GGML_TYPE_Q4_0:
      for (int64_t i = 0; i < count; i += kBlock, block += blockBytes) widenQ4Block(block, to + i);
      return;
    default:
      widen(type, from, to, count);
  }
}

}  // namespace gpt2
