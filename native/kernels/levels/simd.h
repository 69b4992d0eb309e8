#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define GPT2_AVX512
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define GPT2_AVX2
#elif defined(__aarch64__)
#define GPT2_NEON
#endif
#if defined(GPT2_AVX512) || defined(GPT2_AVX2)
#include <immintrin.h>
#elif defined(GPT2_NEON)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

// Vectors of floats, as wide as the instruction set that a file is compiled for allows. They are
// types of the vector extension of GCC and Clang, which provides the operators + − × ÷ < and ?:.
// This file adds the operations that the extension lacks.

namespace gpt2::GPT2_LEVEL::simd {

#if defined(GPT2_AVX512)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(GPT2_AVX2)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#elif defined(GPT2_NEON)
constexpr int kLanes = 4;
constexpr int kRegisters = 32;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

using Floats = float __attribute__((vector_size(kLanes * 4)));
using Ints = int32_t __attribute__((vector_size(kLanes * 4)));
using Bits = uint32_t __attribute__((vector_size(kLanes * 4)));

inline Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The first kLanes of `count` ≥ 0 elements; missing ones are zero.
inline Floats loadUpTo(const float* from, int64_t count) {
  if (count >= kLanes) return load(from);
#if defined(GPT2_AVX512)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1), from);
#else
  float edge[kLanes] = {};
  std::memcpy(edge, from, static_cast<size_t>(count) * sizeof(float));
  return load(edge);
#endif
}

inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

// The first kCount ≤ kLanes elements.
template <int64_t kCount>
inline void storeFirst(float* to, Floats value) {
#if defined(GPT2_AVX512)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << kCount) - 1), value);
#else
  std::memcpy(to, &value, static_cast<size_t>(kCount) * sizeof(float));
#endif
}

inline Floats broadcast(float value) { return value - Floats{}; }

// 0, 1, 2, …
inline Ints laneNumbers() {
  Ints numbers;
  for (int i = 0; i < kLanes; ++i) numbers[i] = i;
  return numbers;
}

// a × b + c, rounded once if the instruction set has a fused multiply-add.
inline Floats fma(Floats a, Floats b, Floats c) {
#if defined(GPT2_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(GPT2_AVX2)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(GPT2_NEON)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

// IEEE 754 binary16.
inline Floats loadF16(const uint16_t* from) {
#if defined(GPT2_AVX512)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(GPT2_AVX2)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#elif defined(GPT2_NEON)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
#else
  // Fraction and exponent move to their places in binary32. Multiplying by a power of two corrects
  // the bias of the exponent and also makes subnormal numbers normal. Infinity and NaN have all
  // bits set in the exponent.
  Floats value;
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t magnitude = static_cast<uint32_t>(from[i] & 0x7FFFU) << 13U;
    const bool isFinite = (from[i] & 0x7C00U) != 0x7C00U;
    const uint32_t bits = isFinite ? magnitude : magnitude | 0x7F800000U;
    float number;
    std::memcpy(&number, &bits, sizeof number);
    if (isFinite) number *= 0x1p112F;
    value[i] = (from[i] & 0x8000U) != 0 ? -number : number;
  }
  return value;
#endif
}

// Rounds to the nearest, ties to even.
inline void storeF16(uint16_t* to, Floats value) {
#if defined(GPT2_AVX512)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
#elif defined(GPT2_AVX2)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
#elif defined(GPT2_NEON)
  vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(value)));
#else
  for (int i = 0; i < kLanes; ++i) {
    float number = value[i];
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    const uint32_t sign = bits >> 16U & 0x8000U;
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    uint32_t half;
    if (magnitude > 0x7F800000U) {
      half = 0x7E00U;
    } else if (magnitude >= 0x47800000U) {
      half = 0x7C00U;  // 2^16 or more: infinity
    } else if (magnitude < 0x38800000U) {
      // Below 2^-14, the smallest normal number. Adding ½ leaves the multiple of 2^-24 in the last
      // bits, rounded by the addition.
      number = number < 0 ? -number : number;
      number += 0.5F;
      std::memcpy(&bits, &number, sizeof bits);
      half = bits - 0x3F000000U;
    } else {
      const uint32_t isOdd = magnitude >> 13U & 1U;
      half = (magnitude + 0xFFFU + isOdd - 0x38000000U) >> 13U;
    }
    to[i] = static_cast<uint16_t>(sign | half);
  }
#endif
}

inline Floats loadF16UpTo(const uint16_t* from, int64_t count) {
  if (count >= kLanes) return loadF16(from);
#if defined(GPT2_AVX512)
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1U << count) - 1), from));
#else
  uint16_t edge[kLanes] = {};
  std::memcpy(edge, from, static_cast<size_t>(count) * sizeof(uint16_t));
  return loadF16(edge);
#endif
}

// bfloat16: the upper half of a float.
inline Floats loadBf16(const uint16_t* from) {
  using Halves = uint16_t __attribute__((vector_size(kLanes * 2)));
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return reinterpret_cast<Floats>(__builtin_convertvector(halves, Bits) << 16U);
}

inline Floats loadBf16UpTo(const uint16_t* from, int64_t count) {
  if (count >= kLanes) return loadBf16(from);
  uint16_t edge[kLanes] = {};
  std::memcpy(edge, from, static_cast<size_t>(count) * sizeof(uint16_t));
  return loadBf16(edge);
}

namespace detail {

template <class Vector>
constexpr int kLanesOf = sizeof(Vector) / sizeof(float);

// [a0, b0, a1, b1, …] of the first (offset 0) or the second halves (offset lanes / 2).
template <int kOffset, class Vector, int... kPlaces>
inline Vector interleave(Vector a, Vector b, std::integer_sequence<int, kPlaces...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (kPlaces / 2 + kPlaces % 2 * kLanesOf<Vector> + kOffset)...);
#else
  using Places = decltype(a < b);
  return __builtin_shuffle(a, b,
                           Places{(kPlaces / 2 + kPlaces % 2 * kLanesOf<Vector> + kOffset)...});
#endif
}

template <int kOffset, class Vector>
inline Vector interleave(Vector a, Vector b) {
  return interleave<kOffset>(a, b, std::make_integer_sequence<int, kLanesOf<Vector>>());
}

}  // namespace detail

// rows[i][j] ↔ rows[j][i]. Interleaving each row with the row half a block below rotates the bits
// of the index (row, lane) by one; after log2(lanes) rotations, row and lane are swapped.
template <class Vector, size_t kRows>
inline __attribute__((always_inline)) void transpose(Vector (&rows)[kRows]) {
  constexpr int kSide = kRows;
  static_assert(kSide == detail::kLanesOf<Vector>);
#pragma GCC unroll 4
  for (int rotation = 1; rotation < kSide; rotation *= 2) {
    Vector next[kSide];
#pragma GCC unroll 8
    for (int i = 0; i < kSide / 2; ++i) {
      const int to = 2 * i;
      next[to] = detail::interleave<0>(rows[i], rows[i + kSide / 2]);
      next[to + 1] = detail::interleave<kSide / 2>(rows[i], rows[i + kSide / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) rows[i] = next[i];
  }
}

inline Floats max(Floats a, Floats b) { return a < b ? b : a; }

inline float sum(Floats value) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += value[i];
  return total;
}

inline int64_t sum(Ints value) {
  int64_t total = 0;
  for (int i = 0; i < kLanes; ++i) total += value[i];
  return total;
}

inline float largest(Floats value) {
  float maximum = value[0];
  for (int i = 1; i < kLanes; ++i) maximum = value[i] > maximum ? value[i] : maximum;
  return maximum;
}

// e^x to about one unit in the last place; 0 below −87.3, infinity above 88.7, NaN for NaN.
//
// e^x = 2^n e^r with n = round(x / ln 2), |r| ≤ ln 2 / 2. ln 2 is split into two parts, so that
// n ln 2 is exact (Cody & Waite 1980). e^r is its Taylor polynomial; the next term is below 2^-27.
inline Floats exp(Floats x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds away the fraction
  const Floats n = fma(x, broadcast(0x1.715476p0F), broadcast(kRound)) - kRound;
  const Floats r = fma(n, broadcast(-0x1.7f7d1cp-20F), fma(n, broadcast(-0x1.62e4p-1F), x));
  Floats y = broadcast(1.0F / 5040);
  y = fma(y, r, broadcast(1.0F / 720));
  y = fma(y, r, broadcast(1.0F / 120));
  y = fma(y, r, broadcast(1.0F / 24));
  y = fma(y, r, broadcast(1.0F / 6));
  y = fma(y, r, broadcast(0.5F));
  y = fma(y, r, broadcast(1));
  y = fma(y, r, broadcast(1));
  // In two steps, because 2^128 is not a float. If n is out of range, the result is replaced below.
  const Floats clamped = n > 128.0F ? broadcast(128) : n < -126.0F ? broadcast(-126) : n;
  const auto isNumber = clamped == clamped;  // NOLINT(misc-redundant-expression): false for NaN
  const Ints whole = __builtin_convertvector(isNumber ? clamped : Floats{}, Ints);
  const Ints half = whole >> 1;
  const auto powerOfTwo = [](Ints exponent) {
    return reinterpret_cast<Floats>((exponent + 127) << 23);
  };
  y = y * powerOfTwo(half) * powerOfTwo(whole - half);
  y = x < -87.3F ? Floats{} : y;
  return x > 88.72F ? broadcast(__builtin_inff()) : y;
}

}  // namespace gpt2::GPT2_LEVEL::simd
