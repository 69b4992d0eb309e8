#pragma once

#include <cstring>

#include "kernels/levels/simd.h"

// Vectors of small integers. A lane holds a group of adjacent elements of a row, whose products one
// instruction adds up: four bytes if the level has a dot product of bytes, else two halfwords.

namespace gpt2::GPT2_LEVEL::simd {

#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define GPT2_BYTE_DOT_PRODUCT
// vpdpbusd multiplies unsigned by signed bytes: 128 is added to the activations, and the products
// with it are subtracted from the sums.
constexpr bool kHasOffset = true;
#elif defined(__AVXVNNI__)
#define GPT2_BYTE_DOT_PRODUCT
constexpr bool kHasOffset = true;
#elif defined(__ARM_FEATURE_DOTPROD)
#define GPT2_BYTE_DOT_PRODUCT
constexpr bool kHasOffset = false;
#else
constexpr bool kHasOffset = false;
#endif

#ifdef GPT2_BYTE_DOT_PRODUCT
constexpr int kGroup = 4;
using Rounded = int8_t;  // an element of x; unsigned, and 128 more, if kHasOffset
#else
constexpr int kGroup = 2;
using Rounded = int16_t;
#endif

constexpr int kBlockLength = 32;
constexpr int kGroups = kBlockLength / kGroup;  // of a block

using SignedBytes = int8_t __attribute__((vector_size(kLanes)));
using UnsignedBytes = uint8_t __attribute__((vector_size(kLanes)));
using Bytes16 = uint8_t __attribute__((vector_size(16)));
using Bytes32 = int8_t __attribute__((vector_size(32)));

// Keeps GCC from computing all products of a block before their sums: they do not fit the
// registers.
inline void keepInOrder([[maybe_unused]] Ints& sums) {
#if defined(__SSE2__)
  __asm__("" : "+x"(sums));
#endif
}

// sums + the products of the elements in each lane. x: unsigned bytes if kHasOffset.
inline Ints addDotProducts(Ints sums, Ints x, Ints w) {
#if defined(GPT2_AVX512)
  return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(sums), reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#elif defined(__AVXVNNI__)
  return reinterpret_cast<Ints>(_mm256_dpbusd_avx_epi32(
      reinterpret_cast<__m256i>(sums), reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
#elif defined(GPT2_AVX2)
  sums += reinterpret_cast<Ints>(
      _mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
  keepInOrder(sums);
  return sums;
#elif defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sums, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
#elif defined(__SSE2__)
  sums += reinterpret_cast<Ints>(
      _mm_madd_epi16(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(w)));
  keepInOrder(sums);
  return sums;
#else
  // The lower and the upper halfword of each lane.
  return sums + (x << 16 >> 16) * (w << 16 >> 16) + (x >> 16) * (w >> 16);
#endif
}

inline Ints broadcastGroup(const Rounded* from) {
  int32_t group;
  std::memcpy(&group, from, sizeof group);
  return Ints{} + group;
}

// The groups of a block of kLanes rows: groups[g] holds group g of every row.
inline __attribute__((always_inline)) void toGroups(const Bytes32 (&rows)[kLanes],
                                                    Ints (&groups)[kGroups]) {
#if defined(GPT2_AVX512)
  // Two squares of eight rows.
  using Half = float __attribute__((vector_size(32)));
  Half halves[2][8];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) halves[h][i] = reinterpret_cast<Half>(rows[8 * h + i]);
    transpose(halves[h]);
  }
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    const __m512i low = _mm512_castsi256_si512(reinterpret_cast<__m256i>(halves[0][g]));
    groups[g] =
        reinterpret_cast<Ints>(_mm512_inserti64x4(low, reinterpret_cast<__m256i>(halves[1][g]), 1));
  }
#else
  constexpr int kSquares = kGroups / kLanes;
#pragma GCC unroll 4
  for (int square = 0; square < kSquares; ++square) {
    Floats part[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) {
#if defined(GPT2_BYTE_DOT_PRODUCT)
      std::memcpy(&part[i], reinterpret_cast<const char*>(&rows[i]) + square * sizeof(Floats),
                  sizeof(Floats));
#elif defined(GPT2_AVX2)
      const auto row = reinterpret_cast<__m256i>(rows[i]);
      part[i] = reinterpret_cast<Floats>(_mm256_cvtepi8_epi16(
          square == 0 ? _mm256_castsi256_si128(row) : _mm256_extracti128_si256(row, 1)));
#else
      using Bytes = int8_t __attribute__((vector_size(8)));
      using Halves = int16_t __attribute__((vector_size(16)));
      Bytes bytes;
      std::memcpy(&bytes,
                  reinterpret_cast<const char*>(&rows[i]) + static_cast<ptrdiff_t>(square * 8),
                  sizeof bytes);
      part[i] = reinterpret_cast<Floats>(__builtin_convertvector(bytes, Halves));
#endif
    }
    transpose(part);
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) groups[square * kLanes + i] = reinterpret_cast<Ints>(part[i]);
  }
#endif
}

namespace detail {

// [a0, b0, a1, b1, …] of the first (offset 0) or the second eight bytes (offset 8).
template <int kOffset, int... kPlaces>
inline Bytes16 interleaveBytes(Bytes16 a, Bytes16 b, std::integer_sequence<int, kPlaces...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (kPlaces / 2 + kPlaces % 2 * 16 + kOffset)...);
#else
  return __builtin_shuffle(
      a, b, Bytes16{static_cast<uint8_t>(kPlaces / 2 + kPlaces % 2 * 16 + kOffset)...});
#endif
}

}  // namespace detail

// rows[i][j] ↔ rows[j][i], as transpose() of floats.
inline __attribute__((always_inline)) void transposeBytes(Bytes16 (&rows)[16]) {
  using Places = std::make_integer_sequence<int, 16>;
#pragma GCC unroll 4
  for (int rotation = 0; rotation < 4; ++rotation) {
    Bytes16 next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const int to = 2 * i;
      next[to] = detail::interleaveBytes<0>(rows[i], rows[i + 8], Places());
      next[to + 1] = detail::interleaveBytes<8>(rows[i], rows[i + 8], Places());
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) rows[i] = next[i];
  }
}

}  // namespace gpt2::GPT2_LEVEL::simd
