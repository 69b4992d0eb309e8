#include "matrix_product.h"

#include <algorithm>

#include "simd.h"
#include "tensor_type.h"

namespace gpt2 {

namespace {

using simd::Floats;
using simd::kLanes;

// Two vectors of columns by as many rows as leave registers for the two and a broadcast.
constexpr int64_t kTileVectors = 2;
constexpr int64_t kTileColumns = kTileVectors * kLanes;
constexpr int64_t kTileRows = simd::kRegisters == 32 ? 12 : 6;

// How far ahead of its use a row is fetched.
constexpr size_t kPrefetchBytes = 4096;

struct FloatLoader {
  using Element = float;
  static Floats load(const float* from) { return simd::load(from); }
};
struct HalfLoader {
  using Element = uint16_t;
  static Floats load(const uint16_t* from) { return simd::loadHalf(from); }
};
struct BrainLoader {
  using Element = uint16_t;
  static Floats load(const uint16_t* from) { return simd::loadBrain(from); }
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
    const auto* from = reinterpret_cast<const Element*>(rowAt(w, first + i)) + k;
    if (columns == kLanes) {
      block[i] = Loader::load(from);
    } else {
      Element edge[kLanes] = {};
      std::copy_n(from, columns, edge);
      block[i] = Loader::load(edge);
    }
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

// By lane: kOutputs rows of w, at `rows`, with kRows rows of x. sums[i][j]: the lanes of x[i] · row
// j.
template <class Loader, int kRows, int kOutputs>
void addLanes(const typename Loader::Element* const (&rows)[kOutputs], int64_t columns,
              const float* x, size_t xStride, Floats (&sums)[kRows][kOutputs]) {
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < kOutputs; ++j) {
      // The rows that follow are next in memory; the processor begins anew with each.
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(rows[j] + k) + kPrefetchBytes);
      const Floats right = Loader::load(rows[j] + k);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const Floats left = simd::load(x + static_cast<size_t>(i) * xStride + k);
        sums[i][j] = simd::fma(left, right, sums[i][j]);
      }
    }
  }
  if (k == columns) return;
  const auto rest = static_cast<size_t>(columns - k);
  const simd::Ints isThere = simd::laneNumbers() < static_cast<int32_t>(rest);
  for (int j = 0; j < kOutputs; ++j) {
    typename Loader::Element edge[kLanes] = {};
    std::copy_n(rows[j] + k, rest, edge);
    for (int i = 0; i < kRows; ++i) {
      float left[kLanes] = {};
      std::copy_n(x + static_cast<size_t>(i) * xStride + k, rest, left);
      const Floats sum = simd::fma(simd::load(left), Loader::load(edge), sums[i][j]);
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

template <class Loader>
void multiplyOneOf(const Matrix& w, const float* x, float* out) {
  using Element = typename Loader::Element;
  const int64_t wholeColumns = w.columns - w.columns % kLanes;
  const size_t stride = w.rowBytes / sizeof(Element);
  for (int64_t j = 0; j < w.rows; j += kLanes) {
    const int64_t rows = std::min<int64_t>(w.rows - j, kLanes);
    Floats sums{};
    Floats block[kLanes];
    int64_t k = 0;
    if (rows == kLanes) {
      const auto* from = reinterpret_cast<const Element*>(rowAt(w, j));
      for (; k < wholeColumns; k += kLanes) {
        // The processor's own prefetching does not keep up with so many streams.
        constexpr size_t kAhead = 512 / sizeof(Element);
        for (int i = 0; i < kLanes; ++i) {
          __builtin_prefetch(from + static_cast<size_t>(i) * stride + k + kAhead);
        }
        loadWholeBlock<Loader>(from + k, stride, block);
#pragma GCC unroll 16
        for (int column = 0; column < kLanes; ++column) {
          sums = simd::fma(simd::broadcast(x[k + column]), block[column], sums);
        }
      }
    }
    for (; k < w.columns; k += kLanes) {
      loadBlock<Loader>(w, j, rows, k, block);
      const int64_t columns = std::min<int64_t>(w.columns - k, kLanes);
      for (int64_t column = 0; column < columns; ++column) {
        sums = simd::fma(simd::broadcast(x[k + column]), block[column], sums);
      }
    }
    float totals[kLanes];
    simd::store(totals, sums);
    std::copy_n(totals, rows, out + j);
  }
}

// rows: how many of the panel's columns w has.
template <class Loader>
void packPanelOf(const Matrix& w, int64_t first, int64_t rows, Order order, float* panel) {
  using Element = typename Loader::Element;
  const int64_t wholeColumns = w.columns - w.columns % kLanes;
  Floats block[kLanes];
  for (int64_t vector = 0; vector < kTileVectors; ++vector) {
    const int64_t from = first + vector * kLanes;
    const int64_t there = std::clamp<int64_t>(rows - vector * kLanes, 0, kLanes);
    int64_t k = 0;
    if (there == kLanes) {
      const auto* whole = reinterpret_cast<const Element*>(rowAt(w, from));
      float* to = panel + vector * kLanes;
      for (; k < wholeColumns; k += kLanes) {
        loadWholeBlock<Loader>(whole + k, w.rowBytes / sizeof(Element), block);
#pragma GCC unroll 16
        for (int64_t j = 0; j < kLanes; ++j) {
          simd::store(to + packedPlace(k + j, w.columns, order) * kTileColumns, block[j]);
        }
      }
    }
    for (; k < w.columns; k += kLanes) {
      loadBlock<Loader>(w, from, there, k, block);
      const int64_t columns = std::min<int64_t>(w.columns - k, kLanes);
      for (int64_t j = 0; j < columns; ++j) {
        float* to = panel + packedPlace(k + j, w.columns, order) * kTileColumns;
        simd::store(to + vector * kLanes, block[j]);
      }
    }
  }
}

// A tile's sums over `columns` packed columns: out, or added to it.
template <bool kAdds>
void multiplyTilePart(const float* packedRows, const float* panel, int64_t columns, float* out) {
  Floats sums[kTileRows][kTileVectors] = {};
  for (int64_t k = 0; k < columns; ++k) {
    Floats right[kTileVectors];
#pragma GCC unroll 2
    for (int64_t j = 0; j < kTileVectors; ++j) right[j] = simd::load(panel + j * kLanes);
#pragma GCC unroll 12
    for (int64_t i = 0; i < kTileRows; ++i) {
      const Floats left = simd::broadcast(packedRows[i]);
#pragma GCC unroll 2
      for (int64_t j = 0; j < kTileVectors; ++j) sums[i][j] = simd::fma(left, right[j], sums[i][j]);
    }
    // Panels come from the second-level cache.
    constexpr int64_t kAhead = 16;
    for (int64_t j = 0; j < kTileVectors; ++j) {
      __builtin_prefetch(panel + kAhead * kTileColumns + j * kLanes);
    }
    __builtin_prefetch(packedRows + kAhead * kTileRows);
    packedRows += kTileRows;
    panel += kTileColumns;
  }
#pragma GCC unroll 12
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int64_t j = 0; j < kTileVectors; ++j) {
      float* to = out + i * kTileColumns + j * kLanes;
      simd::store(to, kAdds ? simd::load(to) + sums[i][j] : sums[i][j]);
    }
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

void multiplyOne(const Matrix& w, const float* x, float* out) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return multiplyOneOf<HalfLoader>(w, x, out);
    case GGML_TYPE_BF16:
      return multiplyOneOf<BrainLoader>(w, x, out);
    default:
      return multiplyOneOf<FloatLoader>(w, x, out);
  }
}

int64_t tileRows() noexcept { return kTileRows; }
int64_t tileColumns() noexcept { return kTileColumns; }

void packPanel(const Matrix& w, int64_t first, Order order, float* panel, float* scratch) {
  const int64_t rows = std::min<int64_t>(w.rows - first, kTileColumns);
  switch (w.type) {
    case GGML_TYPE_F32:
      return packPanelOf<FloatLoader>(w, first, rows, order, panel);
    case GGML_TYPE_F16:
      return packPanelOf<HalfLoader>(w, first, rows, order, panel);
    case GGML_TYPE_BF16:
      return packPanelOf<BrainLoader>(w, first, rows, order, panel);
    default:
      break;
  }
  for (int64_t i = 0; i < rows; ++i) {
    widen(w.type, rowAt(w, first + i), scratch + i * w.columns, w.columns);
  }
  const Matrix widened{scratch, static_cast<size_t>(w.columns) * sizeof(float), GGML_TYPE_F32, rows,
                       w.columns};
  packPanelOf<FloatLoader>(widened, 0, rows, order, panel);
}

void packRows(const float* x, size_t xStride, int64_t n, int64_t columns, Order order,
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

void multiplyTile(const float* packedRows, const float* panel, int64_t columns, Order order,
                  float* out) {
  if (order == Order::kSequential) {
    multiplyTilePart<false>(packedRows, panel, columns, out);
    return;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t count = columns / kLanes + (lane < columns % kLanes ? 1 : 0);
    if (lane == 0) {
      multiplyTilePart<false>(packedRows, panel, count, out);
    } else {
      multiplyTilePart<true>(packedRows, panel, count, out);
    }
    packedRows += count * kTileRows;
    panel += count * kTileColumns;
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
