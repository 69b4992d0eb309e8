#pragma once

#include "kernels/levels/matrix_loaders.h"
#include "kernels/levels/scalar.h"
#include "kernels/levels/simd.h"
#include "kernels/levels/widen_row.h"
#include "kernels/matrix_product.h"

// The products of packed tiles and panels.

namespace gpt2::GPT2_LEVEL {

namespace {

using simd::Floats;
using simd::kLanes;

// A tile of the result has two vectors of columns, and as many rows as leave registers for two
// vectors of the panel and a broadcast element of the tile.
constexpr int64_t kTileVectors = 2;
constexpr int64_t kTileColumns = kTileVectors * kLanes;
constexpr int64_t kTileRows = simd::kRegisters == 32 ? 12 : 6;

}  // namespace

int64_t packedIndex(int64_t column, int64_t columns, SumOrder order) noexcept {
  if (order == SumOrder::kSequential) return column;
  const int64_t lane = column % kLanes;
  return lane * (columns / kLanes) + min<int64_t>(lane, columns % kLanes) + column / kLanes;
}

namespace {

// The block w[first … first + kLanes)[k … k + kLanes), transposed: block[j] holds column k + j.
// Rows and columns beyond the end of w are zero.
template <class Loader>
void loadBlock(const Matrix& w, int64_t first, int64_t rows, int64_t k, Floats (&block)[kLanes]) {
  using Element = typename Loader::Element;
  const auto columns = min<int64_t>(w.columns - k, kLanes);
  for (int i = 0; i < kLanes; ++i) {
    if (i >= rows) {
      block[i] = Floats{};
      continue;
    }
    block[i] = Loader::loadUpTo(reinterpret_cast<const Element*>(rowAt(w, first + i)) + k, columns);
  }
  simd::transpose(block);
}

// The same for a block that lies within w. stride: from row to row, in elements.
template <class Loader>
inline __attribute__((always_inline)) void loadWholeBlock(const typename Loader::Element* from,
                                                          size_t stride, Floats (&block)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) block[i] = Loader::load(from + static_cast<size_t>(i) * stride);
  simd::transpose(block);
}

template <class Loader>
void packColumnsOf(const Matrix& w, int64_t first, float* panel) {
  for (int64_t k = 0; k < w.rows; ++k) {
    const auto* row = reinterpret_cast<const typename Loader::Element*>(rowAt(w, k)) + first;
    for (int64_t j = 0; j < kTileColumns; j += kLanes) {
      simd::store(panel + k * kTileColumns + j,
                  loadClamped<Loader>(row + j, w.columns - first - j));
    }
  }
}

// rows: the number of rows of w in the panel; the remaining columns of the panel are zero.
template <class Loader>
void packRowsOf(const Matrix& w, int64_t first, int64_t rows, float* panel) {
  using Element = typename Loader::Element;
  const int64_t columns = w.columns;
  const int64_t wholeColumns = columns - columns % kLanes;
  const size_t stride = w.rowBytes / sizeof(Element);
  for (int64_t vector = 0; vector < kTileVectors; ++vector) {
    const int64_t from = first + vector * kLanes;
    const auto available = clamp<int64_t>(rows - vector * kLanes, 0, kLanes);
    float* lanes[kLanes];  // the place of the first column of each lane
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = panel +
                    GPT2_LEVEL::packedIndex(lane, columns, SumOrder::kByLane) * kTileColumns +
                    vector * kLanes;
    }
    Floats block[kLanes];
    int64_t k = 0;
    if (available == kLanes) {
      const auto* whole = reinterpret_cast<const Element*>(rowAt(w, from));
      for (; k < wholeColumns; k += kLanes) {
        // The hardware prefetcher does not keep up with kLanes rows. At the end of the rows the
        // next kLanes rows follow.
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
      loadBlock<Loader>(w, from, available, k, block);
      const int64_t place = k / kLanes * kTileColumns;
      for (int64_t lane = 0; lane < kLanes && k + lane < columns; ++lane) {
        simd::store(lanes[lane] + place, block[lane]);
      }
    }
  }
}

// Packs rows [kFirst, kTileRows) of a tile, a square of kLanes columns and rows at a time.
template <int64_t kFirst>
void packTilePart(const float* x, size_t xStride, int64_t rows, PackedColumns columns,
                  SumOrder order, float* tile) {
  constexpr int64_t kCount = kTileRows - kFirst < kLanes ? kTileRows - kFirst : kLanes;
  for (int64_t k = 0; k < columns.count; k += kLanes) {
    const auto count = min<int64_t>(columns.count - k, kLanes);
    Floats square[kLanes] = {};
#pragma GCC unroll 16
    for (int64_t i = 0; i < kCount; ++i) {
      if (kFirst + i >= rows) break;
      square[i] = simd::loadUpTo(x + static_cast<size_t>(kFirst + i) * xStride + k, count);
    }
    simd::transpose(square);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t place = GPT2_LEVEL::packedIndex(columns.first + k + j, columns.all, order);
      simd::storeFirst<kCount>(tile + place * kTileRows + kFirst, square[j]);
    }
  }
  if constexpr (kFirst + kLanes < kTileRows) {
    packTilePart<kFirst + kLanes>(x, xStride, rows, columns, order, tile);
  }
}

// Sums over `columns` packed columns for the first kRows rows of a tile. kAdds: adds the sums to
// `out` instead of writing them.
template <int64_t kRows, bool kAdds>
void multiplyTilePart(const float* tile, const float* panel, int64_t columns, float* out,
                      size_t outStride) {
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
    // Panels are read from the second-level cache.
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
      float* to = out + static_cast<size_t>(i) * outStride + j * kLanes;
      simd::store(to, kAdds ? simd::load(to) + sums[i][j] : sums[i][j]);
    }
  }
}

template <int64_t kRows>
void multiplyTileRows(const float* tile, const float* panel, int64_t columns, SumOrder order,
                      float* out, size_t outStride) {
  if (order == SumOrder::kSequential) {
    multiplyTilePart<kRows, false>(tile, panel, columns, out, outStride);
    return;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t count = columns / kLanes + (lane < columns % kLanes ? 1 : 0);
    if (lane == 0) {
      multiplyTilePart<kRows, false>(tile, panel, count, out, outStride);
    } else {
      multiplyTilePart<kRows, true>(tile, panel, count, out, outStride);
    }
    tile += count * kTileRows;
    panel += count * kTileColumns;
  }
}

}  // namespace

void packRows(const Matrix& w, int64_t first, float* panel, float* scratch) {
  const auto rows = min<int64_t>(w.rows - first, kTileColumns);
  switch (w.type) {
    case GGML_TYPE_F32:
      return packRowsOf<F32Loader>(w, first, rows, panel);
    case GGML_TYPE_F16:
      return packRowsOf<F16Loader>(w, first, rows, panel);
    case GGML_TYPE_BF16:
      return packRowsOf<Bf16Loader>(w, first, rows, panel);
    default:
      break;
  }
  for (int64_t i = 0; i < rows; ++i) {
    widenRow(w.type, rowAt(w, first + i), scratch + i * w.columns, w.columns);
  }
  const Matrix widened{scratch, static_cast<size_t>(w.columns) * sizeof(float), GGML_TYPE_F32, rows,
                       w.columns};
  packRowsOf<F32Loader>(widened, 0, rows, panel);
}

void packColumns(const Matrix& w, int64_t first, float* panel) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return packColumnsOf<F16Loader>(w, first, panel);
    case GGML_TYPE_BF16:
      return packColumnsOf<Bf16Loader>(w, first, panel);
    default:
      return packColumnsOf<F32Loader>(w, first, panel);
  }
}

void packTiles(const float* x, size_t xStride, int64_t n, PackedColumns columns, SumOrder order,
               float* packed) {
  for (int64_t row = 0; row < n; row += kTileRows) {
    float* tile = packed + row * columns.all;
    packTilePart<0>(x + static_cast<size_t>(row) * xStride, xStride, n - row, columns, order, tile);
  }
}

void multiplyTile(const float* tile, const float* panel, int64_t columns, int64_t rows,
                  SumOrder order, float* out, size_t outStride) {
  constexpr int64_t kThird = kTileRows / 3;
  if (rows <= kThird) {
    multiplyTileRows<kThird>(tile, panel, columns, order, out, outStride);
  } else if (rows <= 2 * kThird) {
    multiplyTileRows<2 * kThird>(tile, panel, columns, order, out, outStride);
  } else {
    multiplyTileRows<kTileRows>(tile, panel, columns, order, out, outStride);
  }
}

void accumulateRow(const float* x, const float* panel, int64_t columns, float* out) {
  for (int64_t j = 0; j < kTileColumns; j += kLanes) {
    Floats sums = simd::load(out + j);
    for (int64_t k = 0; k < columns; ++k) {
      sums = simd::fma(simd::broadcast(x[k]), simd::load(panel + k * kTileColumns + j), sums);
    }
    simd::store(out + j, sums);
  }
}

}  // namespace gpt2::GPT2_LEVEL
