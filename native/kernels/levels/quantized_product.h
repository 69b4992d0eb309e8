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

// A block of 32 elements of a rounded row.
struct RoundedBlock {
  Rounded elements[kBlockLength];
  float scale;
  float sum;                 // of the block of x
  int32_t negated;           // minus the sum of the elements
  int32_t negatedFirstHalf;  // minus that of the first 16
};

inline size_t rowBytesOf(int64_t columns) {
  return aligned(static_cast<size_t>(columns / kBlockLength) * sizeof(RoundedBlock));
}

// Rounded rows, from a block on.
struct RoundedRows {
  const uint8_t* first;
  size_t stride;

  const RoundedBlock& at(int row) const {
    return *reinterpret_cast<const RoundedBlock*>(first + static_cast<size_t>(row) * stride);
  }
  // Group g of a row, in every lane.
  Ints group(int row, int g) const {
    return simd::broadcastGroup(at(row).elements + static_cast<ptrdiff_t>(g) * kGroup);
  }
};

// Whether the elements of a format are multiplied as signed bytes where unsigned ones are expected.
template <class Format>
constexpr bool kIsOfSignedBytes = Format::kLargest > 127;

// What was added to the elements q of a panel, so that they are unsigned.
template <class Format>
constexpr int kAdded = !simd::kIsUnsigned          ? 0
                       : !kIsOfSignedBytes<Format> ? Format::kOffset
                       : simd::kAddsPairs          ? 0
                                                   : 128;

// A block of 32 columns of kLanes rows of W.
template <class Format>
struct Block {
  static constexpr int kScales = Format::kScales;

  Ints groups[kGroups];
  Floats factors[kScales + (Format::kHasMinimum ? 1 : 0)];  // the scales, then the minimum
};

// kLanes rows of W. The rows beyond `last` repeat it; kIsWhole: there are none.
template <bool kIsWhole>
struct Rows {
  const uint8_t* first;
  size_t stride;
  int last;

  // The bytes of row i from `offset` on.
  const uint8_t* at(int i, size_t offset) const {
    return first + offset + static_cast<size_t>(kIsWhole ? i : min(i, last)) * stride;
  }
};

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
template <bool kIsWhole>
inline __attribute__((always_inline)) Floats gatherF16(const Rows<kIsWhole>& rows, size_t offset) {
  using Halves = uint16_t __attribute__((vector_size(kLanes * 2)));
  Halves halves;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    uint16_t half;
    std::memcpy(&half, rows.at(i, offset), sizeof half);
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

  template <bool kIsWhole>
  inline __attribute__((always_inline)) void load(const Rows<kIsWhole>& rows, size_t offset) {
    scale = gatherF16(rows, offset + Format::kScaleAt);
    if constexpr (Format::kHasMinimum) minimum = gatherF16(rows, offset + Format::kMinimumAt);
    if constexpr (Format::kHasNumbers) {
      Bytes16 ofRows[16] = {};
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) ofRows[i] = Format::loadNumbers(rows.at(i, offset));
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

// The elements of a row in the form that they are multiplied in.
template <class Format>
inline __attribute__((always_inline)) Bytes32 loadElements(const uint8_t* block, int64_t part) {
  constexpr int kChange = kAdded<Format> - Format::kOffset;
  const Bytes32 bytes = Format::load(block, part);
  if constexpr (kChange == 0) {
    return bytes;
  } else if constexpr (kChange == 128) {
    return bytes ^ static_cast<int8_t>(-128);
  } else {
    return bytes + static_cast<int8_t>(kChange);
  }
}

// Unpacks block `index`, counted in 32 columns, of kLanes stored rows. shared: of the stored block,
// which its first part loads; the caller keeps it for the other parts.
template <class Format, bool kIsWhole>
inline __attribute__((always_inline)) void unpack(Rows<kIsWhole> rows, int64_t index,
                                                  SharedFactors<Format>& shared,
                                                  Block<Format>& block) {
  const int64_t part = index % Format::kParts;
  const size_t offset = static_cast<size_t>(index / Format::kParts) * Format::kBytes;
  // Hides the loop from GCC, which would otherwise keep an address for every row.
  __asm__("" : "+r"(rows.first));
  Bytes32 bytes[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) bytes[i] = loadElements<Format>(rows.at(i, offset), part);
  Ints groups[kGroups];
  simd::toGroups(bytes, groups);
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) block.groups[g] = groups[g];
  if (part == 0) shared.load(rows, offset);
  unpackFactors<Format>(shared, part, block);
}

// The sums of the products of some groups of a block, [kRows][kVectors], begin at what was added to
// the elements of W.
template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void startProducts(const RoundedRows& x, int half,
                                                         Ints (&products)[kRows][kVectors]) {
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    Ints start{};
    if constexpr (kAdded<Format> != 0) {
      const RoundedBlock& block = x.at(i);
      Ints sum = Ints{} + block.negated;
      if constexpr (Format::kScales == 2) {
        const Ints firstHalf = Ints{} + block.negatedFirstHalf;
        sum = half == 0 ? firstHalf : sum - firstHalf;
      }
      start = sum * kAdded<Format>;
    }
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) products[i][v] = start;
  }
}

template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void addProducts(const Block<Format>* blocks,
                                                       const RoundedRows& x, int begin, int end,
                                                       Ints (&products)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (int g = begin; g < end; ++g) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Ints left = x.group(i, g);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        Ints& sums = products[i][v];
        sums = simd::kAddsPairs ? simd::addSignedDotProducts(sums, left, blocks[v].groups[g])
                                : simd::addDotProducts(sums, left, blocks[v].groups[g]);
      }
    }
  }
}

// The same by sums of pairs in 16 bits, as many as fit.
template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void addPairs(const Block<Format>* blocks,
                                                    const RoundedRows& x, int begin, int end,
                                                    Ints (&products)[kRows][kVectors]) {
  constexpr int kMaxGroups = 32767 / (2 * Format::kLargest * 127);
  const int together = min(kMaxGroups, end - begin);
#pragma GCC unroll 4
  for (int first = begin; first < end; first += together) {
    simd::Halfwords pairs[kRows][kVectors] = {};
#pragma GCC unroll 8
    for (int g = first; g < first + together; ++g) {
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Ints left = x.group(i, g);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          pairs[i][v] = simd::addPairs(pairs[i][v], left, blocks[v].groups[g]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        products[i][v] = simd::addSumsOfPairs(products[i][v], pairs[i][v]);
      }
    }
  }
}

// The same by squares of two rows of x and two rows of W. An odd row is its own neighbour.
template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void addSquares(const Block<Format>* blocks,
                                                      const RoundedRows& x, int begin, int end,
                                                      Ints (&products)[kRows][kVectors]) {
  Ints squares[(kRows + 1) / 2][kVectors][2] = {};
#pragma GCC unroll 8
  for (int g = begin; g < end; g += 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i += 2) {
      const Ints left = simd::joinEights(
          x.at(i).elements + static_cast<ptrdiff_t>(g) * kGroup,
          x.at(min(i + 1, kRows - 1)).elements + static_cast<ptrdiff_t>(g) * kGroup);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          Ints& sums = squares[i / 2][v][half];
          sums = simd::addSquares(sums, left, blocks[v].groups[g + half]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      products[i][v] = simd::rowOfSquares(squares[i / 2][v][0], squares[i / 2][v][1], i % 2);
    }
  }
}

// Continues the sums of kRows rows of x with kVectors blocks side by side.
template <class Format, int kRows, int kVectors>
inline __attribute__((always_inline)) void addBlocks(const Block<Format>* blocks, RoundedRows x,
                                                     Floats (&sums)[kRows][kVectors]) {
  constexpr int kCount = kGroups / Format::kScales;
  // Hides the loop over blocks from GCC, which would otherwise keep several addresses for every
  // row.
  __asm__("" : "+r"(x.first));
#pragma GCC unroll 2
  for (int half = 0; half < Format::kScales; ++half) {
    Ints products[kRows][kVectors];
    startProducts<Format>(x, half, products);
    if constexpr (simd::kMultipliesMatrices) {
      addSquares(blocks, x, half * kCount, (half + 1) * kCount, products);
    } else if constexpr (simd::kAddsPairs && !kIsOfSignedBytes<Format>) {
      addPairs(blocks, x, half * kCount, (half + 1) * kCount, products);
    } else {
      addProducts(blocks, x, half * kCount, (half + 1) * kCount, products);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Floats scale = simd::broadcast(x.at(i).scale);
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
      const Floats sum = simd::broadcast(x.at(i).sum);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[i][v] = simd::fma(blocks[v].factors[Format::kScales], sum, sums[i][v]);
      }
    }
  }
}

// The sums of kLanes rows of w.
template <class Format, int kRows, bool kIsWhole>
inline __attribute__((always_inline)) void multiplyLanes(const Rows<kIsWhole>& rows,
                                                         int64_t columns, RoundedRows x,
                                                         Floats (&sums)[kRows][1]) {
  SharedFactors<Format> shared;
  for (int64_t index = 0; index < columns / kBlockLength; ++index) {
    Block<Format> block;
    prefetchAhead<Format>(rows.first, rows.stride, kLanes, index);
    unpack(rows, index, shared, block);
    addBlocks(&block, x, sums);
    x.first += sizeof(RoundedBlock);
  }
}

template <class Format, int kRows>
void multiplyRoundedRowsOf(const Matrix& w, int64_t first, int64_t count, const uint8_t* x,
                           float* out, size_t outStride) {
  const RoundedRows rounded{x, rowBytesOf(w.columns)};
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const auto end = min<int64_t>(begin + kLanes, count);
    Floats sums[kRows][1] = {};
    const auto last = static_cast<int>(end - begin - 1);
    if (last == kLanes - 1) {
      multiplyLanes<Format>(Rows<true>{rowAt(w, first + begin), w.rowBytes, last}, w.columns,
                            rounded, sums);
    } else {
      multiplyLanes<Format>(Rows<false>{rowAt(w, first + begin), w.rowBytes, last}, w.columns,
                            rounded, sums);
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
template <class Format, bool kIsWhole>
void packBlocks(const Rows<kIsWhole> (&rows)[kTileVectors], int64_t columns, uint8_t* panel) {
  auto* blocks = reinterpret_cast<Block<Format>*>(panel);
  SharedFactors<Format> shared[kTileVectors];
  for (int64_t index = 0; index < columns / kBlockLength; ++index) {
    for (int64_t v = 0; v < kTileVectors; ++v) {
      prefetchAhead<Format>(rows[v].first, rows[v].stride, kTileColumns, index);
      unpack(rows[v], index, shared[v], *blocks++);
    }
  }
}

template <class Format>
void packIntegerRowsOf(const Matrix& w, int64_t first, uint8_t* panel) {
  const int64_t left = w.rows - 1 - first;
  if (left >= kTileColumns - 1) {
    Rows<true> rows[kTileVectors];
    for (int64_t v = 0; v < kTileVectors; ++v) {
      rows[v] = {rowAt(w, first + v * kLanes), w.rowBytes, kLanes - 1};
    }
    return packBlocks<Format>(rows, w.columns, panel);
  }
  Rows<false> rows[kTileVectors];
  for (int64_t v = 0; v < kTileVectors; ++v) {
    const int64_t row = min(v * kLanes, left);
    const auto last = static_cast<int>(min<int64_t>(left - row, kLanes - 1));
    rows[v] = {rowAt(w, first + row), w.rowBytes, last};
  }
  packBlocks<Format>(rows, w.columns, panel);
}

template <class Format, int kRows>
void multiplyRoundedTileOf(const uint8_t* x, const uint8_t* panel, int64_t columns, float* out) {
  RoundedRows rounded{x, rowBytesOf(columns)};
  const auto* blocks = reinterpret_cast<const Block<Format>*>(panel);
  Floats sums[kRows][kTileVectors] = {};
  for (int64_t index = 0; index < columns / kBlockLength; ++index) {
    addBlocks(blocks, rounded, sums);
    blocks += kTileVectors;
    rounded.first += sizeof(RoundedBlock);
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
  auto* blocks = reinterpret_cast<RoundedBlock*>(rounded);
  for (int64_t block = 0; block < columns / kBlockLength; ++block) {
    const float* from = x + block * kBlockLength;
    RoundedBlock& to = blocks[block];
    // The bits of magnitudes are in the order of the numbers; infinities and NaN come last.
    constexpr int32_t kMagnitude = 0x7FFFFFFF;
    constexpr int32_t kInfinity = 0x7F800000;
    Ints largest{};
    for (int64_t i = 0; i < kBlockLength; i += kLanes) {
      const Ints bits = reinterpret_cast<Ints>(simd::load(from + i)) & kMagnitude;
      largest = bits > largest ? bits : largest;
    }
    constexpr float kLargest = 127;
    constexpr float kSmallest = 1e-36F;  // below, the inverse of the scale is not finite
    const int32_t topBits = simd::largestLane(largest);
    const bool isFinite = topBits < kInfinity;
    float top;
    std::memcpy(&top, &topBits, sizeof top);
    const bool isZero = !isFinite || top < kSmallest;
    const float inverse = isZero ? 0 : kLargest / top;
    int32_t halves[2] = {};
    for (int64_t half = 0; half < 2; ++half) {
      Ints sums{};
      for (int64_t i = half * (kBlockLength / 2); i < (half + 1) * (kBlockLength / 2);
           i += kLanes) {
        constexpr float kRound = 0x1.8p23F;  // adding it rounds away the fraction
        const Floats value = isZero ? Floats{} : simd::load(from + i) * inverse;
        const Ints whole = __builtin_convertvector((value + kRound) - kRound, Ints);
        sums += whole;
        simd::storeRounded(to.elements + i, whole);
      }
      halves[half] = simd::sumOfLanes(sums);
    }
    const int32_t sum = halves[0] + halves[1];
    to.scale = isFinite ? (isZero ? 0 : top / kLargest) : __builtin_nanf("");
    to.sum = to.scale * static_cast<float>(sum);
    to.negated = -sum;
    to.negatedFirstHalf = -halves[0];
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
