#include "kernels/row_functions.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd.h"

namespace gpt2 {

namespace {

using simd::Floats;
using simd::kLanes;

// Calls `visit` with every vector of the row and the index of its first element; the last vector is
// filled up with `padding`.
template <class Visit>
void forEachVector(const float* x, int64_t n, float padding, const Visit& visit) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) visit(simd::load(x + i), i);
  if (i == n) return;
  float edge[kLanes];
  std::fill_n(edge, kLanes, padding);
  std::copy_n(x + i, n - i, edge);
  visit(simd::load(edge), i);
}

void storeUpTo(float* y, int64_t i, int64_t n, Floats value) {
  if (i + kLanes <= n) return simd::store(y + i, value);
  float edge[kLanes];
  simd::store(edge, value);
  std::copy_n(edge, n - i, y + i);
}

}  // namespace

void normalize(const float* x, const float* weight, const float* bias, float epsilon, int64_t n,
               float* y) {
  const auto count = static_cast<float>(n);
  Floats sums{};
  forEachVector(x, n, 0, [&](Floats value, int64_t) { sums += value; });
  const float mean = simd::sum(sums) / count;
  // The mean is rounded to f32. If the elements are large and close together, the rounding error is
  // about as large as their deviations, so the mean of the differences is subtracted as well. The
  // padding is the mean, whose difference is 0.
  Floats differences{};
  Floats squares{};
  forEachVector(x, n, mean, [&](Floats value, int64_t) {
    const Floats difference = value - mean;
    differences += difference;
    squares = simd::fma(difference, difference, squares);
  });
  const float remainder = simd::sum(differences) / count;
  const float variance = std::max(simd::sum(squares) / count - remainder * remainder, 0.0F);
  const float scale = 1 / std::sqrt(variance + epsilon);
  forEachVector(x, n, 0, [&](Floats value, int64_t i) {
    const Floats shift = bias == nullptr ? Floats{} : simd::loadUpTo(bias + i, n - i);
    storeUpTo(
        y, i, n,
        simd::fma((value - mean - remainder) * scale, simd::loadUpTo(weight + i, n - i), shift));
  });
}

void applyEpilogue(const float* x, const float* bias, bool gelu, const float* residual, int64_t n,
                   float* y) {
  constexpr float kSlope = 1.5957691216057308F;  // 2 √(2/π)
  constexpr float kCubic = kSlope * 0.044715F;
  forEachVector(x, n, 0, [&](Floats value, int64_t i) {
    if (bias != nullptr) value += simd::loadUpTo(bias + i, n - i);
    if (gelu) {
      const Floats slope =
          simd::fma(value * value, simd::broadcast(kCubic), simd::broadcast(kSlope));
      value = value / (simd::exp(-value * slope) + 1);
    }
    if (residual != nullptr) value += simd::loadUpTo(residual + i, n - i);
    storeUpTo(y, i, n, value);
  });
}

float largest(const float* x, int64_t n) {
  Floats maxima = simd::broadcast(x[0]);
  forEachVector(x, n, x[0], [&](Floats value, int64_t) { maxima = simd::max(maxima, value); });
  return simd::largest(maxima);
}

bool areFinite(const float* x, int64_t n) {
  Floats zeros{};  // NaN in a lane with an infinity or a NaN
  forEachVector(x, n, 0, [&](Floats value, int64_t) { zeros = simd::fma(value, Floats{}, zeros); });
  return simd::sum(zeros) == 0;
}

double sumInDouble(const float* x, int64_t n) {
  constexpr int64_t kSums = 16;  // independent of the width of a vector
  double sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int64_t j = 0; j < kSums; ++j) sums[j] += static_cast<double>(x[i + j]);
  }
  for (int64_t j = 0; i + j < n; ++j) sums[j] += static_cast<double>(x[i + j]);
  double total = 0;
  for (const double each : sums) total += each;
  return total;
}

void softmax(float* x, float scale, int64_t n) {
  const float top = largest(x, n);
  Floats sums{};
  forEachVector(x, n, -INFINITY, [&](Floats value, int64_t i) {
    const Floats power = simd::exp((value - top) * scale);
    sums += power;
    storeUpTo(x, i, n, power);
  });
  const float share = 1 / simd::sum(sums);
  forEachVector(x, n, 0, [&](Floats value, int64_t i) { storeUpTo(x, i, n, value * share); });
}

}  // namespace gpt2
