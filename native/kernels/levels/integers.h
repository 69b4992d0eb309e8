#pragma once

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

#include <cstring>

#include "kernels/levels/simd.h"

// Vectors of small integers. A lane holds a group of adjacent elements of a row, whose products one
// instruction adds up: four bytes, or two halfwords if the level has no such instruction for bytes.
// smmla multiplies two rows by two others, eight bytes each: there, two vectors hold the rows of
// two adjacent groups, the groups of a row side by side.

namespace gpt2::GPT2_LEVEL::simd {

// How bytes are multiplied. Intel's instructions multiply unsigned by signed bytes: the elements q
// of W are stored unsigned, and the products with what was added to them are subtracted.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define GPT2_UNSIGNED_DOT_PRODUCT  // vpdpbusd
#elif defined(__SSSE3__)
#define GPT2_UNSIGNED_PAIRS  // pmaddubsw, whose sums of pairs saturate at 16 bits
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define GPT2_SIGNED_MATRIX_PRODUCT  // smmla
#elif defined(__ARM_FEATURE_DOTPROD)
#define GPT2_SIGNED_DOT_PRODUCT  // sdot
#endif

#if defined(GPT2_UNSIGNED_DOT_PRODUCT) || defined(GPT2_UNSIGNED_PAIRS)
constexpr bool kIsUnsigned = true;
#else
constexpr bool kIsUnsigned = false;
#endif

#if defined(GPT2_UNSIGNED_PAIRS)
constexpr bool kAddsPairs = true;
#else
constexpr bool kAddsPairs = false;
#endif

#if defined(GPT2_SIGNED_MATRIX_PRODUCT)
constexpr bool kMultipliesMatrices = true;
#else
constexpr bool kMultipliesMatrices = false;
#endif

#if defined(GPT2_UNSIGNED_DOT_PRODUCT) || defined(GPT2_UNSIGNED_PAIRS) || \
    defined(GPT2_SIGNED_MATRIX_PRODUCT) || defined(GPT2_SIGNED_DOT_PRODUCT)
constexpr int kGroup = 4;
using Rounded = int8_t;  // an element of x
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
using Halfwords = int16_t __attribute__((vector_size(sizeof(Floats))));

// Keeps GCC from computing all products of a block before their sums: they do not fit the
// registers.
template <class Vector>
inline void keepInOrder([[maybe_unused]] Vector& sums) {
#if defined(__SSE2__)
  __asm__("" : "+x"(sums));
#endif
}

// sums + the products of the elements in each lane. w: unsigned bytes if kIsUnsigned.
inline Ints addDotProducts(Ints sums, Ints x, Ints w) {
#if defined(GPT2_AVX512)
  return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(sums), reinterpret_cast<__m512i>(w), reinterpret_cast<__m512i>(x)));
#elif defined(__AVXVNNI__)
  return reinterpret_cast<Ints>(_mm256_dpbusd_avx_epi32(
      reinterpret_cast<__m256i>(sums), reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
#elif defined(GPT2_SIGNED_DOT_PRODUCT)
  return vdotq_s32(sums, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
#elif defined(GPT2_SIGNED_MATRIX_PRODUCT)
  return sums;  // addSquares() is used
#else
  // The lower and the upper halfword of each lane.
  return sums + (x << 16 >> 16) * (w << 16 >> 16) + (x >> 16) * (w >> 16);
#endif
}

#if defined(GPT2_UNSIGNED_PAIRS)
#if defined(GPT2_AVX2)
using Words = __m256i;
inline Words multiplyPairs(Words w, Words x) { return _mm256_maddubs_epi16(w, x); }
inline Words addNeighbours(Words pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
inline Words absolute(Words w) { return _mm256_abs_epi8(w); }
inline Words withSignOf(Words x, Words w) { return _mm256_sign_epi8(x, w); }
#else
using Words = __m128i;
inline Words multiplyPairs(Words w, Words x) { return _mm_maddubs_epi16(w, x); }
inline Words addNeighbours(Words pairs) { return _mm_madd_epi16(pairs, _mm_set1_epi16(1)); }
inline Words absolute(Words w) { return _mm_abs_epi8(w); }
inline Words withSignOf(Words x, Words w) { return _mm_sign_epi8(x, w); }
#endif
#endif

// Sums of the products of pairs, in halfwords. w: unsigned bytes; their sums must fit.
inline Halfwords addPairs([[maybe_unused]] Halfwords sums, [[maybe_unused]] Ints x,
                          [[maybe_unused]] Ints w) {
#if defined(GPT2_UNSIGNED_PAIRS)
  sums += reinterpret_cast<Halfwords>(
      multiplyPairs(reinterpret_cast<Words>(w), reinterpret_cast<Words>(x)));
  keepInOrder(sums);
#endif
  return sums;
}

// sums + the two sums of pairs in each lane.
inline Ints addSumsOfPairs(Ints sums, [[maybe_unused]] Halfwords pairs) {
#if defined(GPT2_UNSIGNED_PAIRS)
  sums += reinterpret_cast<Ints>(addNeighbours(reinterpret_cast<Words>(pairs)));
#endif
  return sums;
}

// The same for signed bytes w from −128 on: |w| × (x with the sign of w), so that no sum of a pair
// exceeds 2 × 128 × 127.
inline Ints addSignedDotProducts(Ints sums, [[maybe_unused]] Ints x, [[maybe_unused]] Ints w) {
#if defined(GPT2_UNSIGNED_PAIRS)
  const auto signs = reinterpret_cast<Words>(w);
  const Words pairs = multiplyPairs(absolute(signs), withSignOf(reinterpret_cast<Words>(x), signs));
  sums += reinterpret_cast<Ints>(addNeighbours(pairs));
  keepInOrder(sums);
#endif
  return sums;
}

// Eight elements of each of two rows of x.
inline Ints joinEights([[maybe_unused]] const Rounded* first,
                       [[maybe_unused]] const Rounded* second) {
#if defined(GPT2_SIGNED_MATRIX_PRODUCT)
  return vreinterpretq_s32_s8(vcombine_s8(vld1_s8(first), vld1_s8(second)));
#else
  return Ints{};
#endif
}

// sums + the products of two rows of x with two rows of W: [row of x][row of W].
inline Ints addSquares(Ints sums, [[maybe_unused]] Ints x, [[maybe_unused]] Ints w) {
#if defined(GPT2_SIGNED_MATRIX_PRODUCT)
  return vmmlaq_s32(sums, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
#else
  return sums;
#endif
}

// The sums of one of the two rows of x with four rows of W.
inline Ints rowOfSquares(Ints first, [[maybe_unused]] Ints second, [[maybe_unused]] int row) {
#if defined(GPT2_SIGNED_MATRIX_PRODUCT)
  const int64x2_t halves[2] = {vreinterpretq_s64_s32(first), vreinterpretq_s64_s32(second)};
  return vreinterpretq_s32_s64(row == 0 ? vzip1q_s64(halves[0], halves[1])
                                        : vzip2q_s64(halves[0], halves[1]));
#else
  return first;
#endif
}

// Stores kLanes numbers that fit. GCC has no good way to narrow the vectors of AVX2 and SSE.
inline void storeRounded(Rounded* to, Ints numbers) {
#if defined(GPT2_UNSIGNED_PAIRS) || (defined(__AVXVNNI__) && !defined(GPT2_AVX512))
  __m128i parts[sizeof(Ints) / sizeof(__m128i)];
  std::memcpy(parts, &numbers, sizeof parts);
  const __m128i halfwords = _mm_packs_epi32(parts[0], parts[sizeof(Ints) / sizeof(__m128i) - 1]);
  const __m128i bytes = _mm_packs_epi16(halfwords, halfwords);
  std::memcpy(to, &bytes, kLanes);
#else
  using Elements = Rounded __attribute__((vector_size(kLanes * sizeof(Rounded))));
  const auto elements = __builtin_convertvector(numbers, Elements);
  std::memcpy(to, &elements, sizeof elements);
#endif
}

// Combines all lanes by halves.
template <class Combine>
inline int32_t combineLanes(Ints lanes, const Combine& combine) {
  int32_t numbers[kLanes];
  std::memcpy(numbers, &lanes, sizeof numbers);
#pragma GCC unroll 4
  for (int count = kLanes / 2; count > 0; count /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) numbers[i] = combine(numbers[i], numbers[i + count]);
  }
  return numbers[0];
}

inline int32_t largestLane(Ints lanes) {
#if defined(GPT2_AVX512)
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(lanes));
#else
  return combineLanes(lanes, [](int32_t a, int32_t b) { return a > b ? a : b; });
#endif
}

inline int32_t sumOfLanes(Ints lanes) {
#if defined(GPT2_AVX512)
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(lanes));
#else
  return combineLanes(lanes, [](int32_t a, int32_t b) { return a + b; });
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
  // Squares of four rows by four groups, four of them in a vector: the rows i, i + 4, or i + 8, i
  // + 12.
  __m512i columns[2][4];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    __m512i pairs[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i first = _mm512_castsi256_si512(reinterpret_cast<__m256i>(rows[8 * h + i]));
      pairs[i] = _mm512_inserti64x4(first, reinterpret_cast<__m256i>(rows[8 * h + 4 + i]), 1);
    }
    const __m512i low[2] = {_mm512_unpacklo_epi32(pairs[0], pairs[1]),
                            _mm512_unpacklo_epi32(pairs[2], pairs[3])};
    const __m512i high[2] = {_mm512_unpackhi_epi32(pairs[0], pairs[1]),
                             _mm512_unpackhi_epi32(pairs[2], pairs[3])};
    columns[h][0] = _mm512_unpacklo_epi64(low[0], low[1]);
    columns[h][1] = _mm512_unpackhi_epi64(low[0], low[1]);
    columns[h][2] = _mm512_unpacklo_epi64(high[0], high[1]);
    columns[h][3] = _mm512_unpackhi_epi64(high[0], high[1]);
  }
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    // The even parts of 128 bits, then the odd ones.
    groups[g] =
        reinterpret_cast<Ints>(_mm512_shuffle_i64x2(columns[0][g], columns[1][g], 0b10001000));
    groups[g + 4] =
        reinterpret_cast<Ints>(_mm512_shuffle_i64x2(columns[0][g], columns[1][g], 0b11011101));
  }
#else
  constexpr int kSquares = kGroups / kLanes;
#pragma GCC unroll 4
  for (int square = 0; square < kSquares; ++square) {
    Floats part[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) {
      const char* row = reinterpret_cast<const char*>(&rows[i]);
      if constexpr (kGroup == 4) {
        std::memcpy(&part[i], row + square * sizeof(Floats), sizeof(Floats));
      } else {
        using Bytes = int8_t __attribute__((vector_size(8)));
        using Halves = int16_t __attribute__((vector_size(16)));
        Bytes bytes;
        std::memcpy(&bytes, row + static_cast<ptrdiff_t>(square * 8), sizeof bytes);
        const Halves halves = __builtin_convertvector(bytes, Halves);
        std::memcpy(&part[i], &halves, sizeof halves);
      }
    }
    transpose(part);
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) groups[square * kLanes + i] = reinterpret_cast<Ints>(part[i]);
  }
#if defined(GPT2_SIGNED_MATRIX_PRODUCT)
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; g += 2) {
    const Ints pair[2] = {groups[g], groups[g + 1]};
    groups[g] = vzip1q_s32(pair[0], pair[1]);
    groups[g + 1] = vzip2q_s32(pair[0], pair[1]);
  }
#endif
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
