#pragma once

#include "kernels/levels/matrix_loaders.h"
#include "kernels/levels/scalar.h"
#include "kernels/levels/simd.h"
#include "kernels/matrix_product.h"

// The products that read W unpacked.

namespace gpt2::GPT2_LEVEL {

namespace {

using simd::Floats;
using simd::kLanes;

// How far ahead of its use a row is prefetched.
constexpr size_t kPrefetchBytes = 8192;

// Multiplies one vector of row j of w with the vectors of kRows rows of x.
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

// Multiplies kOutputs rows of w with kRows rows of x. sums[i][j]: the lanes of x[i] · rows[j].
template <class Loader, int kRows, int kOutputs>
void addLanes(const typename Loader::Element* const (&rows)[kOutputs], int64_t columns,
              const float* x, size_t xStride, Floats (&sums)[kRows][kOutputs]) {
  using Element = typename Loader::Element;
  constexpr auto kLine = static_cast<int64_t>(kCacheLineBytes / sizeof(Element));
  int64_t k = 0;
  for (; k + kLine <= columns; k += kLine) {
#pragma GCC unroll 4
    for (int j = 0; j < kOutputs; ++j) {
      // Prefetches beyond the end of the row too: the next rows follow in memory, and the hardware
      // prefetcher starts over with each row.
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
  const simd::Ints isWithin = simd::laneNumbers() < static_cast<int32_t>(rest);
  for (int j = 0; j < kOutputs; ++j) {
    const Floats right = Loader::loadUpTo(rows[j] + k, rest);
    for (int i = 0; i < kRows; ++i) {
      const Floats left = simd::loadUpTo(x + static_cast<size_t>(i) * xStride + k, rest);
      const Floats sum = simd::fma(left, right, sums[i][j]);
      sums[i][j] = isWithin ? sum : sums[i][j];
    }
  }
}

template <class Loader, int kRows>
void multiplyFixedRows(const Matrix& w, int64_t first, int64_t count, const float* x,
                       size_t xStride, float* out, size_t outStride) {
  constexpr int kOutputs = 4;
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const auto end = min<int64_t>(begin + kLanes, count);
    Floats lanes[kRows][kLanes] = {};
    for (int64_t j = begin; j < end; j += kOutputs) {
      const typename Loader::Element* rows[kOutputs];
      for (int64_t o = 0; o < kOutputs; ++o) {
        const int64_t row = first + min<int64_t>(j + o, end - 1);
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
      copy(totals, end - begin, out + static_cast<size_t>(i) * outStride + begin);
    }
  }
}

template <class Loader>
void multiplyRowsOf(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                    int n, float* out, size_t outStride) {
  static_assert(kMaxRowsPerCall == 4);
  switch (n) {
    case 1:
      return multiplyFixedRows<Loader, 1>(w, first, count, x, xStride, out, outStride);
    case 2:
      return multiplyFixedRows<Loader, 2>(w, first, count, x, xStride, out, outStride);
    case 3:
      return multiplyFixedRows<Loader, 3>(w, first, count, x, xStride, out, outStride);
    default:
      return multiplyFixedRows<Loader, 4>(w, first, count, x, xStride, out, outStride);
  }
}

template <class Loader, int64_t kVectors>
void addColumns(const Matrix& w, int64_t first, const float* x, float* out, const void* next) {
  using Element = typename Loader::Element;
  Floats sums[kVectors];
  const int64_t available = w.columns - first;
  constexpr int64_t kWhole = kVectors * kLanes;
  for (int64_t v = 0; v < kVectors; ++v) {
    sums[v] =
        simd::loadUpTo(out + first + v * kLanes, clamp<int64_t>(available - v * kLanes, 0, kLanes));
  }
  const auto* ahead =
      static_cast<const uint8_t*>(next) + static_cast<size_t>(first) * sizeof(Element);
  for (int64_t k = 0; k < w.rows; ++k) {
    const auto* row = reinterpret_cast<const Element*>(rowAt(w, k)) + first;
    const Floats factor = simd::broadcast(x[k]);
    for (size_t line = 0; line < kWhole * sizeof(Element); line += kCacheLineBytes) {
      __builtin_prefetch(ahead + static_cast<size_t>(k) * w.rowBytes + line);
    }
    if (available >= kWhole) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[v] = simd::fma(factor, Loader::load(row + v * kLanes), sums[v]);
      }
    } else {
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[v] = simd::fma(factor, loadClamped<Loader>(row + v * kLanes, available - v * kLanes),
                            sums[v]);
      }
    }
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    float lanes[kLanes];
    simd::store(lanes, sums[v]);
    copy(lanes, clamp<int64_t>(available - v * kLanes, 0, kLanes), out + first + v * kLanes);
  }
}

template <class Loader>
void addWeightedRowsOf(const Matrix& w, const float* x, float* out, const void* next) {
  // Independent sums, to hide the latency of fma: the 64 columns of a block of the cache, if the
  // registers hold them.
  constexpr auto kVectors = clamp<int64_t>(64 / kLanes, 4, 8);
  for (int64_t first = 0; first < w.columns; first += kVectors * kLanes) {
    addColumns<Loader, kVectors>(w, first, x, out, next);
  }
}

}  // namespace

bool isFloatType(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

void multiplyRows(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                  int n, float* out, size_t outStride) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return multiplyRowsOf<F16Loader>(w, first, count, x, xStride, n, out, outStride);
    case GGML_TYPE_BF16:
      return multiplyRowsOf<Bf16Loader>(w, first, count, x, xStride, n, out, outStride);
    default:
      return multiplyRowsOf<F32Loader>(w, first, count, x, xStride, n, out, outStride);
  }
}

void addWeightedRows(const Matrix& w, const float* x, float* out, const void* next) {
  switch (w.type) {
    case GGML_TYPE_F16:
      return addWeightedRowsOf<F16Loader>(w, x, out, next);
    case GGML_TYPE_BF16:
      return addWeightedRowsOf<Bf16Loader>(w, x, out, next);
    default:
      return addWeightedRowsOf<F32Loader>(w, x, out, next);
  }
}

}  // namespace gpt2::GPT2_LEVEL
