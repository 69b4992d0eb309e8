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

template <class Loader, int kRows>
void multiplyFewRows(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                     float* out, size_t outStride) {
  using Element = typename Loader::Element;
  const int64_t wholeColumns = w.columns - w.columns % kLanes;
  const size_t stride = w.rowBytes / sizeof(Element);
  for (int64_t j = 0; j < count; j += kLanes) {
    const int64_t rows = std::min<int64_t>(count - j, kLanes);
    Floats sums[kRows] = {};
    Floats block[kLanes];
    const auto addBlock = [&](int64_t k, int columns) {
      for (int column = 0; column < columns; ++column) {
        for (int i = 0; i < kRows; ++i) {
          const float factor = x[static_cast<size_t>(i) * xStride + static_cast<size_t>(k) +
                                 static_cast<size_t>(column)];
          sums[i] = simd::fma(simd::broadcast(factor), block[column], sums[i]);
        }
      }
    };
    int64_t k = 0;
    if (rows == kLanes) {
      const auto* from = reinterpret_cast<const Element*>(rowAt(w, first + j));
      for (; k < wholeColumns; k += kLanes) {
        // The processor's own prefetching does not keep up with so many streams.
        constexpr size_t kAhead = 512 / sizeof(Element);
        for (int i = 0; i < kLanes; ++i) {
          __builtin_prefetch(from + static_cast<size_t>(i) * stride + k + kAhead);
        }
        loadWholeBlock<Loader>(from + k, stride, block);
#pragma GCC unroll 16
        for (int column = 0; column < kLanes; ++column) {
#pragma GCC unroll 4
          for (int i = 0; i < kRows; ++i) {
            const float factor = x[static_cast<size_t>(i) * xStride + static_cast<size_t>(k) +
                                   static_cast<size_t>(column)];
            sums[i] = simd::fma(simd::broadcast(factor), block[column], sums[i]);
          }
        }
      }
    }
    for (; k < w.columns; k += kLanes) {
      loadBlock<Loader>(w, first + j, rows, k, block);
      addBlock(k, static_cast<int>(std::min<int64_t>(w.columns - k, kLanes)));
    }
    for (int i = 0; i < kRows; ++i) {
      float lanes[kLanes];
      simd::store(lanes, sums[i]);
      std::copy_n(lanes, rows, out + static_cast<size_t>(i) * outStride + j);
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

// rows: how many of the panel's columns w has.
template <class Loader>
void packPanelOf(const Matrix& w, int64_t first, int64_t rows, float* panel) {
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
        for (int64_t j = 0; j < kLanes; ++j) simd::store(to + (k + j) * kTileColumns, block[j]);
      }
    }
    for (; k < w.columns; k += kLanes) {
      loadBlock<Loader>(w, from, there, k, block);
      const int64_t columns = std::min<int64_t>(w.columns - k, kLanes);
      for (int64_t j = 0; j < columns; ++j) {
        simd::store(panel + (k + j) * kTileColumns + vector * kLanes, block[j]);
      }
    }
  }
}

}  // namespace

bool hasFewRowsProduct(ggml_type type) {
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

int64_t tileRows() noexcept { return kTileRows; }
int64_t tileColumns() noexcept { return kTileColumns; }

void packPanel(const Matrix& w, int64_t first, float* panel, float* scratch) {
  const int64_t rows = std::min<int64_t>(w.rows - first, kTileColumns);
  switch (w.type) {
    case GGML_TYPE_F32:
      return packPanelOf<FloatLoader>(w, first, rows, panel);
    case GGML_TYPE_F16:
      return packPanelOf<HalfLoader>(w, first, rows, panel);
    case GGML_TYPE_BF16:
      return packPanelOf<BrainLoader>(w, first, rows, panel);
    default:
      break;
  }
  for (int64_t i = 0; i < rows; ++i) {
    widen(w.type, rowAt(w, first + i), scratch + i * w.columns, w.columns);
  }
  const Matrix widened{scratch, static_cast<size_t>(w.columns) * sizeof(float), GGML_TYPE_F32, rows,
                       w.columns};
  packPanelOf<FloatLoader>(widened, 0, rows, panel);
}

void packRows(const float* x, size_t xStride, int64_t n, int64_t columns, float* packed) {
  for (int64_t row = 0; row < n; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(n - row, kTileRows);
    for (int64_t k = 0; k < columns; ++k) {
      for (int64_t i = 0; i < kTileRows; ++i) {
        *packed++ =
            i < rows ? x[static_cast<size_t>(row + i) * xStride + static_cast<size_t>(k)] : 0.0F;
      }
    }
  }
}

void multiplyTile(const float* packedRows, const float* panel, int64_t columns, float* out) {
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
      simd::store(out + i * kTileColumns + j * kLanes, sums[i][j]);
    }
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
