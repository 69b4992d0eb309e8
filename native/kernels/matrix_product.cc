#include "kernels/matrix_product.h"

#include <algorithm>

#include "kernels/simd.h"
#include "kernels/widen_row.h"

namespace gpt2 {

namespace {

using simd::Floats;
using simd::kLanes;

// Two vectors of columns by as many rows as leave registers for the two and a broadcast.
constexpr int64_t kTileVectors = 2;
constexpr int64_t kTileColumns = kTileVectors * kLanes;
constexpr int64_t kTileRows = simd::kRegisters == 32 ? 12 : 6;

// How far ahead of its use a row is fetched.
constexpr size_t kPrefetchBytes = 8192;
constexpr size_t kLineBytes = 64;  // of the cache

struct FloatLoader {
  using Element = float;
  static Floats load(const float* from) { return simd::load(from); }
  static Floats loadUpTo(const float* from, int64_t count) { return simd::loadUpTo(from, count); }
};
struct HalfLoader {
  using Element = uint16_t;
  static Floats load(const uint16_t* from) { return simd::loadHalf(from); }
  static Floats loadUpTo(const uint16_t* from, int64_t count) {
    return simd::loadHalfUpTo(from, count);
  }
};
struct BrainLoader {
  using Element = uint16_t;
  static Floats load(const uint16_t* from) { return simd::loadBrain(from); }
  static Floats loadUpTo(const uint16_t* from, int64_t count) {
    return simd::loadBrainUpTo(from, count);
  }
};

const uint8_t* rowAt(const Matrix& w, int64_t row) {
  return static_cast<const uint8_t*>(w.data) + static_cast<size_t>(row) * w.rowBytes;
}

// The block w[first … first + kLanes)[k … k + kLanes), transposed: block[j] holds column k + j.
// Rows and columns that are not there are zero.
template <class Loader>
void loadBlock(const Matrix& w, int64_t first, int64_t rows, int64_t k, Floats (&block)[kLanes]) {
  using Element = typename Loader::Element;
  const int64_t columns = std::min<int64_t>(w.columns - k, kLanes);
  for (int i = 0; i < kLanes; ++i) {
    if (i >= rows) {
      block[i] = Floats{};
      continue;
    }
    block[i] = Loader::loadUpTo(reinterpret_cast<const Element*>(rowAt(w, first + i)) + k, columns);
  }
  simd::transpose(block);
}

// A whole block, whose kLanes rows are `stride` elements apart.
template <class Loader>
inline __attribute__((always_inline)) void loadWholeBlock(const typename Loader::Element* from,
                                                          size_t stride, Floats (&block)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) block[i] = Loader::load(from + static_cast<size_t>(i) * stride);
  simd::transpose(block);
}

// One vector of row j of w with those of kRows rows of x.
template <class Loader, int kRows, int kOutputs>
inline __attribute__((always_inline)) void addVector(const typename Loader::Element* from,
                                                     const float* x, size_t xStride,
                                                     Floats (&sums)[kRows][kOutputs], int j) {
  const Floats right = Loader::load(from);
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const Floats left = simd::load(x + static_cast<size_t>(i) * xStride);
    sums[i][j] = simd::fma(left, right, sums[i][j]);
  }
}

// By lane: kOutputs rows of w, at `rows`, with kRows rows of x. sums[i][j]: the lanes of x[i] · row
// j.
template <class Loader, int kRows, int kOutputs>
void addLanes(const typename Loader::Element* const (&rows)[kOutputs], int64_t columns,
              const float* x, size_t xStride, Floats (&sums)[kRows][kOutputs]) {
  using Element = typename Loader::Element;
  constexpr auto kLine = static_cast<int64_t>(kLineBytes / sizeof(Element));
  int64_t k = 0;
  for (; k + kLine <= columns; k += kLine) {
#pragma GCC unroll 4
    for (int j = 0; j < kOutputs; ++j) {
      // The rows that follow are next in memory; the processor begins anew with each.
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(rows[j] + k) + kPrefetchBytes);
#pragma GCC unroll 8
      for (int64_t v = 0; v < kLine; v += kLanes) {
        addVector<Loader>(rows[j] + k + v, x + k + v, xStride, sums, j);
      }
    }
  }
  for (; k + kLanes <= columns; k += kLanes) {
    for (int j = 0; j < kOutputs; ++j) addVector<Loader>(rows[j] + k, x + k, xStride, sums, j);
  }
  if (k == columns) return;
  const int64_t rest = columns - k;
  const simd::Ints isThere = simd::laneNumbers() < static_cast<int32_t>(rest);
  for (int j = 0; j < kOutputs; ++j) {
    const Floats right = Loader::loadUpTo(rows[j] + k, rest);
    for (int i = 0; i < kRows; ++i) {
      const Floats left = simd::loadUpTo(x + static_cast<size_t>(i) * xStride + k, rest);
      const Floats sum = simd::fma(left, right, sums[i][j]);
      sums[i][j] = isThere ? sum : sums[i][j];
    }
  }
}

template <class Loader, int kRows>
void multiplyFewRows(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                     float* out, size_t outStride) {
  constexpr int kOutputs = 4;
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const int64_t end = std::min<int64_t>(begin + kLanes, count);
    Floats lanes[kRows][kLanes] = {};
    for (int64_t j = begin; j < end; j += kOutputs) {
      const typename Loader::Element* rows[kOutputs];
      for (int64_t o = 0; o < kOutputs; ++o) {
        const int64_t row = first + std::min(j + o, end - 1);
        rows[o] = reinterpret_cast<const typename Loader::Element*>(rowAt(w, row));
      }
      Floats sums[kRows][kOutputs] = {};
      addLanes<Loader, kRows, kOutputs>(rows, w.columns, x, xStride, sums);
      for (int i = 0; i < kRows; ++i) {
        for (int64_t o = 0; o < kOutputs; ++o) lanes[i][j - begin + o] = sums[i][o];
      }
    }
    for (int i = 0; i < kRows; ++i) {
      simd::transpose(lanes[i]);
      Floats total = lanes[i][0];
      for (int lane = 1; lane < kLanes; ++lane) total = total + lanes[i][lane];
      float totals[kLanes];
      simd::store(totals, total);
      std::copy_n(totals, end - begin, out + static_cast<size_t>(i) * outStride + begin);
    }
  }
}

template <class Loader>
void multiplyFewOf(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                   int n, float* out, size_t outStride) {
  static_assert(kFewRows == 4);
  switch (n) {
    case 1:
      return multiplyFewRows<Loader, 1>(w, first, count, x, xStride, out, outStride);
    case 2:
      return multiplyFewRows<Loader, 2>(w, first, count, x, xStride, out, outStride);
    case 3:
      return multiplyFewRows<Loader, 3>(w, first, count, x, xStride, out, outStride);
    default:
      return multiplyFewRows<Loader, 4>(w, first, count, x, xStride, out, outStride);
  }
}

// As many of kLanes numbers as there are: possibly none, or more.
template <class Loader>
Floats loadThere(const typename Loader::Element* from, int64_t count) {
  return count > 0 ? Loader::loadUpTo(from, count) : Floats{};
}

// Columns [first, first + kVectors × kLanes), as far as w has them.
template <class Loader, int64_t kVectors>
void sumColumns(const Matrix& w, int64_t first, const float* x, float* out) {
  using Element = typename Loader::Element;
  Floats sums[kVectors] = {};
  const int64_t there = w.columns - first;
  constexpr int64_t kWhole = kVectors * kLanes;
  constexpr size_t kRowsAhead = 12;
  for (int64_t k = 0; k < w.rows; ++k) {
    const auto* row = reinterpret_cast<const Element*>(rowAt(w, k)) + first;
    const Floats factor = simd::broadcast(x[k]);
    // Rows lie far apart, so that the processor does not see which comes next.
    for (size_t line = 0; line < kWhole * sizeof(Element); line += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(row) + kRowsAhead * w.rowBytes + line);
    }
    if (there >= kWhole) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[v] = simd::fma(factor, Loader::load(row + v * kLanes), sums[v]);
      }
    } else {
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[v] =
            simd::fma(factor, loadThere<Loader>(row + v * kLanes, there - v * kLanes), sums[v]);
      }
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    float lanes[kLanes];
    simd::store(lanes, sums[v]);
    std::copy_n(lanes, std::clamp<int64_t>(there - v * kLanes, 0, kLanes),
                out + first + v * kLanes);
  }
}

template <class Loader>
void sumRowsOf(const Matrix& w, const float* x, float* out) {
  constexpr int64_t kVectors = 8;  // sums that do not wait for each other
  constexpr int64_t kWhole = kVectors * kLanes;
  int64_t first = 0;
  for (; first + kWhole <= w.columns; first += kWhole) {
    sumColumns<Loader, kVectors>(w, first, x, out);
  }
  for (; first < w.columns; first += kWhole / 2) {
    sumColumns<Loader, kVectors / 2>(w, first, x, out);
  }
}

template <class Loader>
void packColumnsOf(const Matrix& w, int64_t first, float* panel) {
  for (int64_t k = 0; k < w.rows; ++k) {
    const auto* row = reinterpret_cast<const typename Loader::Element*>(rowAt(w, k)) + first;
    for (int64_t j = 0; j < kTileColumns; j += kLanes) {
      simd::store(panel + k * kTileColumns + j, loadThere<Loader>(row + j, w.columns - first - j));
    }
  }
}

// rows: how many of the panel's columns w has.
template <class Loader>
void packRowsOf(const Matrix& w, int64_t first, int64_t rows, float* panel) {
  using Element = typename Loader::Element;
  const int64_t columns = w.columns;
  const int64_t wholeColumns = columns - columns % kLanes;
  const size_t stride = w.rowBytes / sizeof(Element);
  for (int64_t vector = 0; vector < kTileVectors; ++vector) {
    const int64_t from = first + vector * kLanes;
    const int64_t there = std::clamp<int64_t>(rows - vector * kLanes, 0, kLanes);
    float* lanes[kLanes];  // where the first column of each lane goes
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] =
          panel + packedPlace(lane, columns, Order::kByLane) * kTileColumns + vector * kLanes;
    }
    Floats block[kLanes];
    int64_t k = 0;
    if (there == kLanes) {
      const auto* whole = reinterpret_cast<const Element*>(rowAt(w, from));
      for (; k < wholeColumns; k += kLanes) {
        // The processor's own prefetching does not keep up with so many rows. At their end follow
        // the next ones.
        constexpr int64_t kAhead = 512 / sizeof(Element);
        const Element* ahead = whole + k + kAhead;
        if (k + kAhead >= columns)
          ahead += static_cast<size_t>(kLanes) * stride - static_cast<size_t>(columns);
        for (size_t i = 0; i < kLanes; ++i) __builtin_prefetch(ahead + i * stride);
        loadWholeBlock<Loader>(whole + k, stride, block);
        const int64_t place = k / kLanes * kTileColumns;
#pragma GCC unroll 16
        for (int64_t lane = 0; lane < kLanes; ++lane) simd::store(lanes[lane] + place, block[lane]);
      }
    }
    for (; k < columns; k += kLanes) {
      loadBlock<Loader>(w, from, there, k, block);
      const int64_t place = k / kLanes * kTileColumns;
      for (int64_t lane = 0; lane < kLanes && k + lane < columns; ++lane) {
        simd::store(lanes[lane] + place, block[lane]);
      }
    }
  }
}

// Sums over `columns` packed columns of a tile's first kRows rows: out, or added to it.
template <int64_t kRows, bool kAdds>
void multiplyTilePart(const float* tile, const float* panel, int64_t columns, float* out) {
  Floats sums[kRows][kTileVectors] = {};
  for (int64_t k = 0; k < columns; ++k) {
    Floats right[kTileVectors];
#pragma GCC unroll 2
    for (int64_t j = 0; j < kTileVectors; ++j) right[j] = simd::load(panel + j * kLanes);
#pragma GCC unroll 12
    for (int64_t i = 0; i < kRows; ++i) {
      const Floats left = simd::broadcast(tile[i]);
#pragma GCC unroll 2
      for (int64_t j = 0; j < kTileVectors; ++j) sums[i][j] = simd::fma(left, right[j], sums[i][j]);
    }
    // Panels come from the second-level cache.
    constexpr int64_t kAhead = 16;
    for (int64_t j = 0; j < kTileVectors; ++j) {
      __builtin_prefetch(panel + kAhead * kTileColumns + j * kLanes);
    }
    __builtin_prefetch(tile + kAhead * kTileRows);
    tile += kTileRows;
    panel += kTileColumns;
  }
#pragma GCC unroll 12
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kTileVectors; ++j) {
      float* to = out + i * kTileColumns + j * kLanes;
      simd::store(to, kAdds ? simd::load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

template <int64_t kRows>
void multiplyTileRows(const float* tile, const float* panel, int64_t columns, Order order,
                      float* out) {
  if (order == Order::kSequential) {
    multiplyTilePart<kRows, false>(tile, panel, columns, out);
    return;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t count = columns / kLanes + (lane < columns % kLanes ? 1 : 0);
    if (lane == 0) {
      multiplyTilePart<kRows, false>(tile, panel, count, out);
    } else {
      multiplyTilePart<kRows, true>(tile, panel, count, out);
    }
    tile += count * kTileRows;
    panel += count * kTileColumns;
  }
}

}  // namespace

int64_t packedPlace(int64_t column, int64_t columns, Order order) noexcept {
  if (order == Order::kSequential) return column;
  const int64_t lane = column % kLanes;
  return lane * (columns / kLanes) + std::min(lane, columns % kLanes) + column / kLanes;
}

bool isReadInPlace(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

void multiplyFew(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                 int n, float* out, size_t outStride) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return multiplyFewOf<HalfLoader>(w, first, count, x, xStride, n, out, outStride);
    case GGML_TYPE_BF16:
      return multiplyFewOf<BrainLoader>(w, first, count, x, xStride, n, out, outStride);
    default:
      return multiplyFewOf<FloatLoader>(w, first, count, x, xStride, n, out, outStride);
  }
}

void sumRows(const Matrix& w, const float* x, float* out) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return sumRowsOf<HalfLoader>(w, x, out);
    case GGML_TYPE_BF16:
      return sumRowsOf<BrainLoader>(w, x, out);
    default:
      return sumRowsOf<FloatLoader>(w, x, out);
  }
}

int64_t tileRows() noexcept { return kTileRows; }
int64_t tileColumns() noexcept { return kTileColumns; }

void packRows(const Matrix& w, int64_t first, float* panel, float* scratch) {
  const int64_t rows = std::min<int64_t>(w.rows - first, kTileColumns);
  switch (w.type) {
    case GGML_TYPE_F32:
      return packRowsOf<FloatLoader>(w, first, rows, panel);
    case GGML_TYPE_F16:
      return packRowsOf<HalfLoader>(w, first, rows, panel);
    case GGML_TYPE_BF16:
      return packRowsOf<BrainLoader>(w, first, rows, panel);
    default:
      break;
  }
  for (int64_t i = 0; i < rows; ++i) {
    widenRow(w.type, rowAt(w, first + i), scratch + i * w.columns, w.columns);
  }
  const Matrix widened{scratch, static_cast<size_t>(w.columns) * sizeof(float), GGML_TYPE_F32, rows,
                       w.columns};
  packRowsOf<FloatLoader>(widened, 0, rows, panel);
}

void packColumns(const Matrix& w, int64_t first, float* panel) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return packColumnsOf<HalfLoader>(w, first, panel);
    case GGML_TYPE_BF16:
      return packColumnsOf<BrainLoader>(w, first, panel);
    default:
      return packColumnsOf<FloatLoader>(w, first, panel);
  }
}

void packTiles(const float* x, size_t xStride, int64_t n, int64_t columns, Order order,
               float* packed) {
  for (int64_t row = 0; row < n; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(n - row, kTileRows);
    for (int64_t k = 0; k < columns; ++k) {
      float* to = packed + row * columns + packedPlace(k, columns, order) * kTileRows;
      for (int64_t i = 0; i < kTileRows; ++i) {
        to[i] =
            i < rows ? x[static_cast<size_t>(row + i) * xStride + static_cast<size_t>(k)] : 0.0F;
      }
    }
  }
}

void multiplyTile(const float* tile, const float* panel, int64_t columns, int64_t rows, Order order,
                  float* out) {
  constexpr int64_t kThird = kTileRows / 3;
  if (rows <= kThird) {
    multiplyTileRows<kThird>(tile, panel, columns, order, out);
  } else if (rows <= 2 * kThird) {
    multiplyTileRows<2 * kThird>(tile, panel, columns, order, out);
  } else {
    multiplyTileRows<kTileRows>(tile, panel, columns, order, out);
  }
}

void continueRow(const float* x, const float* panel, int64_t columns, float* out) {
  for (int64_t j = 0; j < kTileColumns; j += kLanes) {
    Floats sums = simd::load(out + j);
    for (int64_t k = 0; k < columns; ++k) {
      sums = simd::fma(simd::broadcast(x[k]), simd::load(panel + k * kTileColumns + j), sums);
    }
    simd::store(out + j, sums);
  }
}

}  // namespace gpt2
