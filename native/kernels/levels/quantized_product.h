#pragma once

#include "kernels/levels/integer_formats.h"
#include "kernels/levels/matrix_loaders.h"
#include "kernels/levels/matrix_product_packed.h"
#include "kernels/levels/scalar.h"
#include "kernels/quantized_product.h"

// Products with quantised weights, in integers.

namespace gpt2::GPT2_LEVEL {

namespace {

using simd::Ints;
using simd::kBlockLength;
using simd::kGroup;
using simd::kGroups;
using simd::Rounded;

constexpr size_t kRowAlignment = 64;
// With two vectors of columns, as many rows as leave registers for the sums in f32.
constexpr int64_t kRoundedTileRows = 6;

inline size_t aligned(size_t bytes) {
  return (bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

// A rounded row: its elements, the scale of each block, and the sum of each block of x.
struct RoundedRow {
  const Rounded* elements;
  const float* scales;
  const float* sums;
};

inline size_t elementBytes(int64_t columns) {
  return aligned(static_cast<size_t>(columns) * sizeof(Rounded));
}

inline size_t rowBytesOf(int64_t columns) {
  const auto blocks = static_cast<size_t>(columns / kBlockLength);
  return elementBytes(columns) + aligned(2 * blocks * sizeof(float));
}

inline RoundedRow roundedRow(const uint8_t* rows, int64_t index, int64_t columns) {
  const uint8_t* row = rows + static_cast<size_t>(index) * rowBytesOf(columns);
  const auto* scales = reinterpret_cast<const float*>(row + elementBytes(columns));
  return {reinterpret_cast<const Rounded*>(row), scales, scales + columns / kBlockLength};
}

// A block of 32 columns of kLanes rows of W. If x has an offset, the sums of each scale start at
// minus the products with it: starts().
template <class Format>
struct Block {
  static constexpr int kScales = Format::kScales;
  static constexpr int kStarts = simd::kHasOffset ? kScales : 0;

  Ints groups[kGroups + kStarts];
  Floats factors[kScales + (Format::kHasMinimum ? 1 : 0)];  // the scales, then the minimum

  Ints start(int half) const {
    if constexpr (kStarts == 0) return Ints{};
    return groups[kGroups + (kStarts == 0 ? 0 : half)];
  }
};

template <class Format>
inline __attribute__((always_inline)) void computeStarts(Block<Format>& block) {
  if constexpr (simd::kHasOffset) {
    constexpr int kCount = kGroups / Format::kScales;
    const auto offset = reinterpret_cast<Ints>(simd::Bits{} + 0x80808080U);
#pragma GCC unroll 2
    for (int half = 0; half < Format::kScales; ++half) {
      Ints products{};
#pragma GCC unroll 16
      for (int g = half * kCount; g < (half + 1) * kCount; ++g) {
        products = simd::addDotProducts(products, offset, block.groups[g]);
      }
      block.groups[kGroups + half] = -products;
    }
  }
}

// Prefetches the bytes that follow `distance` rows after those of block `index` of kLanes rows.
// Rows are read side by side, which the hardware prefetcher does not follow; their bytes are
// adjacent.
template <class Format>
inline __attribute__((always_inline)) void prefetchAhead(const uint8_t* firstRow, size_t rowBytes,
                                                         int64_t distance, int64_t index) {
  constexpr size_t kBytes = Format::kBytes * kLanes / Format::kParts;
  const uint8_t* from =
      firstRow + static_cast<size_t>(distance) * rowBytes + static_cast<size_t>(index) * kBytes;
#pragma GCC unroll 16
  for (size_t line = 0; line < kBytes; line += kCacheLineBytes) __builtin_prefetch(from + line);
}

// A number in f16 of each row, `offset` bytes from its start.
inline __attribute__((always_inline)) Floats gatherF16(const uint8_t* const (&rows)[kLanes],
                                                       size_t offset) {
  using Halves = uint16_t __attribute__((vector_size(kLanes * 2)));
  Halves halves;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    uint16_t half;
    std::memcpy(&half, rows[i] + offset, sizeof half);
    halves[i] = half;
  }
  uint16_t stored[kLanes];
  std::memcpy(stored, &halves, sizeof stored);
  return simd::loadF16(stored);
}

// What the parts of a stored block share: its scale and its minimum, and, of k-quants, the whole
// numbers that they are multiplied by.
template <class Format>
struct SharedFactors {
  Floats scale;
  Floats minimum;
  Bytes16 numbers[16];  // numbers[n] holds number n of every row

  // rows: at the stored block.
  inline __attribute__((always_inline)) void load(const uint8_t* const (&rows)[kLanes],
                                                  size_t offset) {
    scale = gatherF16(rows, offset + Format::kScaleAt);
    if constexpr (Format::kHasMinimum) minimum = gatherF16(rows, offset + Format::kMinimumAt);
    if constexpr (Format::kHasNumbers) {
      Bytes16 ofRows[16] = {};
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) ofRows[i] = Format::loadNumbers(rows[i] + offset);
      simd::transposeBytes(ofRows);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) numbers[i] = ofRows[i];
    }
  }

  Floats number(int index) const {
    if constexpr (Format::kHasSignedNumbers) {
      return toFloats<simd::SignedBytes>(numbers[index]);
    } else {
      return toFloats<simd::UnsignedBytes>(numbers[index]);
    }
  }

 private:
  template <class Elements>
  static Floats toFloats(const Bytes16& from) {
    Elements elements;
    std::memcpy(&elements, &from, sizeof elements);
    return __builtin_convertvector(__builtin_convertvector(elements, Ints), Floats);
  }
};

template <class Format>
inline __attribute__((always_inline)) void unpackFactors(const SharedFactors<Format>& shared,
                                                         int64_t part, Block<Format>& block) {
#pragma GCC unroll 2
  for (int half = 0; half < Format::kScales; ++half) {
    block.factors[half] = shared.scale;
    if constexpr (Format::kHasNumbers) {
      block.factors[half] *= shared.number(Format::scaleNumber(part, half));
    }
  }
  if constexpr (Format::kHasMinimum) {
    Floats& minimum = block.factors[Format::kScales];
    minimum = shared.minimum;
    if constexpr (Format::kHasNumbers) minimum *= -shared.number(Format::minimumNumber(part));
  }
}

// Unpacks block `index`, counted in 32 columns, of kLanes stored rows. shared: of the stored block,
// which its first part loads; the caller keeps it for the other parts.
template <class Format>
inline __attribute__((always_inline)) void unpack(const uint8_t* const (&rows)[kLanes],
                                                  int64_t index, SharedFactors<Format>& shared,
                                                  Block<Format>& block) {
  const int64_t part = index % Format::kParts;
  const size_t offset = static_cast<size_t>(index / Format::kParts) * Format::kBytes;
  Bytes32 bytes[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) bytes[i] = Format::load(rows[i] + offset, part);
  Ints groups[kGroups];
  simd::toGroups(bytes, groups);
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) block.groups[g] = groups[g];
  computeStarts(block);
  if (part == 0) shared.load(rows, offset);
  unpackFactors<Format>(shared, part, block);
}

// Continues the sums of kRows rows of x with kVectors blocks side by side. index: of the block.
template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void addBlocks(const Block<Format>* blocks,
                                                     const RoundedRow (&x)[kRows], int64_t index,
                                                     Floats (&sums)[kRows][kVectors]) {
  constexpr int kCount = kGroups / Format::kScales;
#pragma GCC unroll 2
  for (int half = 0; half < Format::kScales; ++half) {
    Ints products[kRows][kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) products[i][v] = blocks[v].start(half);
    }
#pragma GCC unroll 16
    for (int g = half * kCount; g < (half + 1) * kCount; ++g) {
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Ints left = simd::broadcastGroup(x[i].elements + index * kBlockLength + g * kGroup);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          products[i][v] = simd::addDotProducts(products[i][v], left, blocks[v].groups[g]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Floats scale = simd::broadcast(x[i].scales[index]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const Floats scaled =
            __builtin_convertvector(products[i][v], Floats) * blocks[v].factors[half];
        sums[i][v] = simd::fma(scaled, scale, sums[i][v]);
      }
    }
  }
  if constexpr (Format::kHasMinimum) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Floats sum = simd::broadcast(x[i].sums[index]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[i][v] = simd::fma(blocks[v].factors[Format::kScales], sum, sums[i][v]);
      }
    }
  }
}

template <class Format, int kRows>
void multiplyRoundedRowsOf(const Matrix& w, int64_t first, int64_t count, const uint8_t* x,
                           float* out, size_t outStride) {
  RoundedRow rounded[kRows];
  for (int i = 0; i < kRows; ++i) rounded[i] = roundedRow(x, i, w.columns);
  const int64_t blocks = w.columns / kBlockLength;
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const auto end = min<int64_t>(begin + kLanes, count);
    const uint8_t* rows[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      rows[i] = rowAt(w, first + min<int64_t>(begin + i, end - 1));
    }
    Floats sums[kRows][1] = {};
    SharedFactors<Format> shared;
    for (int64_t index = 0; index < blocks; ++index) {
      Block<Format> block;
      prefetchAhead<Format>(rows[0], w.rowBytes, kLanes, index);
      unpack(rows, index, shared, block);
      addBlocks(&block, rounded, index, sums);
    }
    for (int i = 0; i < kRows; ++i) {
      float lanes[kLanes];
      simd::store(lanes, sums[i][0]);
      copy(lanes, end - begin, out + static_cast<size_t>(i) * outStride + begin);
    }
  }
}

template <class Format>
void multiplyRoundedRowsIn(const Matrix& w, int64_t first, int64_t count, const uint8_t* x, int n,
                           float* out, size_t outStride) {
  static_assert(kMaxRoundedRowsPerCall == 4);
  switch (n) {
    case 1:
      return multiplyRoundedRowsOf<Format, 1>(w, first, count, x, out, outStride);
    case 2:
      return multiplyRoundedRowsOf<Format, 2>(w, first, count, x, out, outStride);
    case 3:
      return multiplyRoundedRowsOf<Format, 3>(w, first, count, x, out, outStride);
    default:
      return multiplyRoundedRowsOf<Format, 4>(w, first, count, x, out, outStride);
  }
}

// panel: [columns / 32][kTileVectors] blocks.
template <class Format>
void packIntegerRowsOf(const Matrix& w, int64_t first, uint8_t* panel) {
  auto* blocks = reinterpret_cast<Block<Format>*>(panel);
  const int64_t last = w.rows - 1;
  const uint8_t* rows[kTileVectors][kLanes];
  int64_t row = first;
  for (auto& vector : rows) {
    for (const uint8_t*& lane : vector) lane = rowAt(w, min(row++, last));
  }
  SharedFactors<Format> shared[kTileVectors];
  for (int64_t index = 0; index < w.columns / kBlockLength; ++index) {
    for (int64_t v = 0; v < kTileVectors; ++v) {
      prefetchAhead<Format>(rows[v][0], w.rowBytes, kTileColumns, index);
      unpack(rows[v], index, shared[v], *blocks++);
    }
  }
}

template <class Format, int kRows>
void multiplyRoundedTileOf(const uint8_t* x, const uint8_t* panel, int64_t columns, float* out) {
  RoundedRow rounded[kRows];
  for (int i = 0; i < kRows; ++i) rounded[i] = roundedRow(x, i, columns);
  const auto* blocks = reinterpret_cast<const Block<Format>*>(panel);
  Floats sums[kRows][kTileVectors] = {};
  for (int64_t index = 0; index < columns / kBlockLength; ++index) {
    addBlocks(blocks, rounded, index, sums);
    blocks += kTileVectors;
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int64_t v = 0; v < kTileVectors; ++v) {
      simd::store(out + i * kTileColumns + v * kLanes, sums[i][v]);
    }
  }
}

template <class Format>
void multiplyRoundedTileIn(const uint8_t* x, int64_t rows, const uint8_t* panel, int64_t columns,
                           float* out) {
  static_assert(kRoundedTileRows == 6);
  switch (rows) {
    case 1:
      return multiplyRoundedTileOf<Format, 1>(x, panel, columns, out);
    case 2:
      return multiplyRoundedTileOf<Format, 2>(x, panel, columns, out);
    case 3:
      return multiplyRoundedTileOf<Format, 3>(x, panel, columns, out);
    case 4:
      return multiplyRoundedTileOf<Format, 4>(x, panel, columns, out);
    case 5:
      return multiplyRoundedTileOf<Format, 5>(x, panel, columns, out);
    default:
      return multiplyRoundedTileOf<Format, 6>(x, panel, columns, out);
  }
}

// Calls visit(Format{}) with the format of an integer type.
template <class Visit>
auto withFormat(ggml_type type, const Visit& visit) {
  switch (type) {
    case GGML_TYPE_Q4_0:
      return visit(Q4_0{});
    case GGML_TYPE_Q4_1:
      return visit(Q4_1{});
    case GGML_TYPE_Q5_0:
      return visit(Q5_0{});
    case GGML_TYPE_Q5_1:
      return visit(Q5_1{});
    case GGML_TYPE_Q4_K:
      return visit(Q4_K{});
    case GGML_TYPE_Q5_K:
      return visit(Q5_K{});
    case GGML_TYPE_Q6_K:
      return visit(Q6_K{});
    default:
      return visit(Q8_0{});
  }
}

}  // namespace

size_t roundedRowBytes(int64_t columns) { return rowBytesOf(columns); }

void roundRow(const float* x, int64_t columns, uint8_t* rounded) {
  auto* elements = reinterpret_cast<Rounded*>(rounded);
  auto* scales = reinterpret_cast<float*>(rounded + elementBytes(columns));
  float* sums = scales + columns / kBlockLength;
  for (int64_t block = 0; block < columns / kBlockLength; ++block) {
    const float* from = x + block * kBlockLength;
    Floats maxima{};
    Floats zeros{};  // NaN in a lane with an infinity or a NaN
    for (int64_t i = 0; i < kBlockLength; i += kLanes) {
      const Floats value = simd::load(from + i);
      maxima = simd::max(maxima, value < 0.0F ? -value : value);
      zeros = simd::fma(value, Floats{}, zeros);
    }
    constexpr float kLargest = 127;
    constexpr float kSmallest = 1e-36F;  // below, the inverse of the scale is not finite
    const float top = simd::largest(maxima);
    const bool isFinite = simd::sum(zeros) == 0;
    const bool isZero = !isFinite || top < kSmallest;
    const float inverse = isZero ? 0 : kLargest / top;
    int32_t sum = 0;
    for (int64_t i = 0; i < kBlockLength; ++i) {
      constexpr float kRound = 0x1.8p23F;  // adding it rounds away the fraction
      const float whole = isZero ? 0 : (from[i] * inverse + kRound) - kRound;
      const auto element = static_cast<int32_t>(whole);
      sum += element;
      elements[block * kBlockLength + i] =
          static_cast<Rounded>(simd::kHasOffset ? element + 128 : element);
    }
    scales[block] = isFinite ? (isZero ? 0 : top / kLargest) : __builtin_nanf("");
    sums[block] = scales[block] * static_cast<float>(sum);
  }
}

void multiplyRoundedRows(const Matrix& w, int64_t first, int64_t count, const uint8_t* x, int n,
                         float* out, size_t outStride) {
  withFormat(w.type, [&](auto format) {
    multiplyRoundedRowsIn<decltype(format)>(w, first, count, x, n, out, outStride);
  });
}

size_t integerPanelBytes(ggml_type type, int64_t columns) {
  return withFormat(type, [&](auto format) {
    return static_cast<size_t>(columns / kBlockLength * kTileVectors) *
           sizeof(Block<decltype(format)>);
  });
}

void packIntegerRows(const Matrix& w, int64_t first, uint8_t* panel) {
  withFormat(w.type, [&](auto format) { packIntegerRowsOf<decltype(format)>(w, first, panel); });
}

void multiplyRoundedTile(const uint8_t* x, int64_t rows, const uint8_t* panel, ggml_type type,
                         int64_t columns, float* out) {
  withFormat(type, [&](auto format) {
    multiplyRoundedTileIn<decltype(format)>(x, rows, panel, columns, out);
  });
}

}  // namespace gpt2::GPT2_LEVEL
