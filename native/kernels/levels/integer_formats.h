#pragma once

#include <ggml.h>

#include <cstring>

#include "kernels/levels/integers.h"

// ggml's quantised types (https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h). A stored
// block holds kParts blocks of 32 elements, each
//
//   element = scale × q + minimum
//
// with q = (what load() returns) − kOffset. kLargest is the largest that load() returns; the
// elements of q8_0 are signed bytes. Of q6_K, each half of a block has a scale of its own. Scales
// and minima are numbers in f16, at kScaleAt and kMinimumAt in the stored block; those of k-quants
// are multiplied by whole numbers, 16 in a stored block.

namespace gpt2::GPT2_LEVEL {

using simd::Bytes16;
using simd::Bytes32;

inline Bytes32 loadBytes32(const uint8_t* from) {
  Bytes32 bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

// The lower four bits of 16 bytes, then the upper four.
inline Bytes32 loadNibbles(const uint8_t* from) {
#if defined(GPT2_AVX2) || defined(GPT2_AVX512)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m256i nibbles = _mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes);
  return reinterpret_cast<Bytes32>(_mm256_and_si256(nibbles, _mm256_set1_epi8(15)));
#else
  Bytes16 bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  const Bytes16 halves[2] = {bytes & 15, bytes >> 4};
  Bytes32 nibbles;
  std::memcpy(&nibbles, halves, sizeof nibbles);
  return nibbles;
#endif
}

// 16 in the bytes whose bit is set among 32 bits, 0 in the others.
inline Bytes32 loadFifthBits(const uint8_t* from) {
#if defined(GPT2_AVX2) || defined(GPT2_AVX512)
  int32_t bits;
  std::memcpy(&bits, from, sizeof bits);
  const __m256i places =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), places);
  const __m256i mask = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201U));
  const __m256i isSet = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, mask), mask);
  return reinterpret_cast<Bytes32>(_mm256_and_si256(isSet, _mm256_set1_epi8(16)));
#else
  Bytes32 bytes;
  for (int i = 0; i < 32; ++i) {
    bytes[i] = static_cast<int8_t>((from[i / 8] >> (i % 8) & 1) << 4);
  }
  return bytes;
#endif
}

// The bits of each byte from `shift` on that are set in `mask`. Shifts halfwords, since there is no
// shift of bytes: the mask removes what comes from the neighbour.
inline Bytes32 loadBits(const uint8_t* from, int shift, uint8_t mask) {
  using Halves = uint16_t __attribute__((vector_size(32)));
  using Masks = uint8_t __attribute__((vector_size(32)));
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return reinterpret_cast<Bytes32>(reinterpret_cast<Masks>(halves >> shift) & (Masks{} + mask));
}

// Moves bits that a byte has room for.
inline Bytes32 shiftedLeft(Bytes32 bytes, int shift) {
  using Halves = uint16_t __attribute__((vector_size(32)));
  return reinterpret_cast<Bytes32>(reinterpret_cast<Halves>(bytes) << shift);
}

template <size_t kStoredBytes, int kElementOffset, int kLargestElement>
struct BlockOf32 {
  static constexpr int64_t kParts = 1;
  static constexpr size_t kBytes = kStoredBytes;
  static constexpr int kScales = 1;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kHasNumbers = false;
  static constexpr size_t kScaleAt = 0;
  static constexpr int kOffset = kElementOffset;
  static constexpr int kLargest = kLargestElement;
};

template <size_t kStoredBytes, int kLargestElement>
struct BlockWithMinimum : BlockOf32<kStoredBytes, 0, kLargestElement> {
  static constexpr bool kHasMinimum = true;
  static constexpr size_t kMinimumAt = 2;
};

// NOLINTBEGIN(readability-identifier-naming): ggml's names
struct Q8_0 : BlockOf32<34, 0, 128> {
  static Bytes32 load(const uint8_t* block, int64_t /*part*/) { return loadBytes32(block + 2); }
};

struct Q4_0 : BlockOf32<18, 8, 15> {
  static Bytes32 load(const uint8_t* block, int64_t /*part*/) { return loadNibbles(block + 2); }
};

struct Q4_1 : BlockWithMinimum<20, 15> {
  static Bytes32 load(const uint8_t* block, int64_t /*part*/) { return loadNibbles(block + 4); }
};

struct Q5_0 : BlockOf32<22, 16, 31> {
  static Bytes32 load(const uint8_t* block, int64_t /*part*/) {
    return loadNibbles(block + 6) | loadFifthBits(block + 2);
  }
};

struct Q5_1 : BlockWithMinimum<24, 31> {
  static Bytes32 load(const uint8_t* block, int64_t /*part*/) {
    return loadNibbles(block + 8) | loadFifthBits(block + 4);
  }
};

// Eight scales and eight minima of six bits each in twelve bytes, from byte 4 on. Minima are
// subtracted.
template <size_t kStoredBytes, int kLargestElement>
struct BlockOf256 {
  static constexpr int64_t kParts = 8;
  static constexpr size_t kBytes = kStoredBytes;
  static constexpr int kScales = 1;
  static constexpr bool kHasMinimum = true;
  static constexpr bool kHasNumbers = true;
  static constexpr size_t kScaleAt = 0;
  static constexpr size_t kMinimumAt = 2;
  static constexpr int kOffset = 0;
  static constexpr int kLargest = kLargestElement;

  static constexpr bool kHasSignedNumbers = false;

  // Eight scales, then eight minima. The first four have bytes of their own; the others share four
  // bits with each other, and take two bits of the first four.
  static Bytes16 loadNumbers(const uint8_t* block) {
    uint32_t stored[3];
    std::memcpy(stored, block + 4, sizeof stored);
    const auto first = [](uint32_t bytes) { return bytes & 0x3F3F3F3FU; };
    const auto upper = [](uint32_t bytes) { return bytes >> 2U & 0x30303030U; };
    using Words = uint32_t __attribute__((vector_size(16)));
    return reinterpret_cast<Bytes16>(
        Words{first(stored[0]), (stored[2] & 0x0F0F0F0FU) | upper(stored[0]), first(stored[1]),
              (stored[2] >> 4U & 0x0F0F0F0FU) | upper(stored[1])});
  }
  static int scaleNumber(int64_t part, int /*half*/) { return static_cast<int>(part); }
  static int minimumNumber(int64_t part) { return static_cast<int>(part) + 8; }
};

struct Q4_K : BlockOf256<144, 15> {
  static Bytes32 load(const uint8_t* block, int64_t part) {
    return loadBits(block + 16 + 32 * (part / 2), part % 2 == 0 ? 0 : 4, 15);
  }
};

struct Q5_K : BlockOf256<176, 31> {
  static Bytes32 load(const uint8_t* block, int64_t part) {
    const Bytes32 fifth = loadBits(block + 16, static_cast<int>(part), 1);
    return loadBits(block + 48 + 32 * (part / 2), part % 2 == 0 ? 0 : 4, 15) |
           shiftedLeft(fifth, 4);
  }
};

struct Q6_K {
  static constexpr int64_t kParts = 8;
  static constexpr size_t kBytes = 210;
  static constexpr int kScales = 2;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kHasNumbers = true;
  static constexpr size_t kScaleAt = 208;
  static constexpr int kOffset = 32;
  static constexpr int kLargest = 63;
  static Bytes32 load(const uint8_t* block, int64_t part) {
    const int64_t half = part / 4;
    const int64_t quarter = part % 4;
    const Bytes32 upper = loadBits(block + 128 + 32 * half, static_cast<int>(2 * quarter), 3);
    const Bytes32 lower = loadBits(block + 64 * half + 32 * (quarter % 2), quarter < 2 ? 0 : 4, 15);
    return lower | shiftedLeft(upper, 4);
  }
  static constexpr bool kHasSignedNumbers = true;
  static Bytes16 loadNumbers(const uint8_t* block) {
    Bytes16 numbers;
    std::memcpy(&numbers, block + 192, sizeof numbers);
    return numbers;
  }
  static int scaleNumber(int64_t part, int half) { return static_cast<int>(2 * part) + half; }
};
// NOLINTEND(readability-identifier-naming)

}  // namespace gpt2::GPT2_LEVEL
