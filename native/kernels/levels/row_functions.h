#pragma once

#include "kernels/activation.h"
#include "kernels/levels/scalar.h"
#include "kernels/levels/simd.h"

namespace gpt2::GPT2_LEVEL {

namespace {

using simd::Floats;
using simd::Ints;
using simd::kLanes;

// Calls `visit` with every vector of the row and the index of its first element; the last vector is
// filled up with `padding`.
template <class Visit>
void forEachVector(const float* x, int64_t n, float padding, const Visit& visit) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) visit(simd::load(x + i), i);
  if (i == n) return;
  float edge[kLanes];
  fill(edge, kLanes, padding);
  copy(x + i, n - i, edge);
  visit(simd::load(edge), i);
}

void storeUpTo(float* y, int64_t i, int64_t n, Floats value) {
  if (i + kLanes <= n) return simd::store(y + i, value);
  float edge[kLanes];
  simd::store(edge, value);
  copy(edge, n - i, y + i);
}

// x · sigmoid(2 √(2/π) (x + 0.044715 x³)), since ½ (1 + tanh(z)) = sigmoid(2z).
Floats geluTanh(Floats x) {
  constexpr float kSlope = 1.5957691216057308F;  // 2 √(2/π)
  constexpr float kCubic = kSlope * 0.044715F;
  const Floats slope = simd::fma(x * x, simd::broadcast(kCubic), simd::broadcast(kSlope));
  return x / (simd::exp(-x * slope) + 1);
}

// x · Φ(x), where Φ is the normal distribution. Φ(−|x|) = ½ erfc(z) with z = |x| ÷ √2, and
// erfc(z) = e^(−z²) t P(t) with t = 1 ÷ (1 + 0.42 z), as in Abramowitz & Stegun 7.1.26. P is a
// least-squares fit over Chebyshev nodes for z from 0 to 10, with a relative error of 3e-9; the
// coefficients below are those of ½ P. Unlike 1 + erf, the product has no cancellation for x < 0.
Floats geluErf(Floats x) {
  constexpr float kScale = 0.42F * 0.70710678118654752F;
  constexpr float kHalf[] = {-0.0205805991F, 0.115420096F, -0.243487388F, 0.218806505F,
                             -0.0988658294F, 0.106979445F, 0.0749798045F, 0.109956257F,
                             0.11830499F,    0.118486717F};
  const Floats magnitude = x < 0.0F ? -x : x;
  const Floats t = 1 / simd::fma(magnitude, simd::broadcast(kScale), simd::broadcast(1));
  Floats p = simd::broadcast(kHalf[0]);
  for (int i = 1; i < static_cast<int>(sizeof kHalf / sizeof kHalf[0]); ++i) {
    p = simd::fma(p, t, simd::broadcast(kHalf[i]));
  }
  const Floats tail = p * t * simd::exp(x * x * -0.5F);
  return x * (x < 0.0F ? tail : 1 - tail);
}

// NaN stays NaN.
Floats relu(Floats x) { return x < 0.0F ? Floats{} : x; }

Floats silu(Floats x) { return x / (simd::exp(-x) + 1); }

template <class Function>
void epilogue(const float* x, const float* bias, const Function& function, const float* residual,
              int64_t n, float* y) {
  forEachVector(x, n, 0, [&](Floats value, int64_t i) {
    if (bias != nullptr) value += simd::loadUpTo(bias + i, n - i);
    value = function(value);
    if (residual != nullptr) value += simd::loadUpTo(residual + i, n - i);
    storeUpTo(y, i, n, value);
  });
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
  const float variance = max(simd::sum(squares) / count - remainder * remainder, 0.0F);
  const float scale = 1 / __builtin_sqrtf(variance + epsilon);
  forEachVector(x, n, 0, [&](Floats value, int64_t i) {
    const Floats shift = bias == nullptr ? Floats{} : simd::loadUpTo(bias + i, n - i);
    storeUpTo(
        y, i, n,
        simd::fma((value - mean - remainder) * scale, simd::loadUpTo(weight + i, n - i), shift));
  });
}

void applyEpilogue(const float* x, const float* bias, Activation activation, const float* residual,
                   int64_t n, float* y) {
  switch (activation) {
    case Activation::kNone:
      return epilogue(
          x, bias, [](Floats value) { return value; }, residual, n, y);
    case Activation::kGeluTanh:
      return epilogue(x, bias, geluTanh, residual, n, y);
    case Activation::kGeluErf:
      return epilogue(x, bias, geluErf, residual, n, y);
    case Activation::kRelu:
      return epilogue(x, bias, relu, residual, n, y);
    case Activation::kSilu:
      return epilogue(x, bias, silu, residual, n, y);
  }
}

void roundToF16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) simd::storeF16(y + i, simd::load(x + i));
  if (i == n) return;
  uint16_t edge[kLanes];
  simd::storeF16(edge, simd::loadUpTo(x + i, n - i));
  for (int64_t j = 0; i + j < n; ++j) y[i + j] = edge[j];
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

// In f32 within blocks of 16 vectors, so that a sum of 50,257 numbers keeps its precision, and in
// f64 beyond.
ExpSums expSums(const float* x, float top, int64_t n) {
  constexpr int64_t kBlock = 16 * int64_t{kLanes};
  constexpr float kLeast = -100;  // whose power is 0; −∞ times that would be NaN
  ExpSums total{0, 0, 0};
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = n - begin < kBlock ? n - begin : kBlock;
    Floats sum{};
    Floats first{};
    Floats second{};
    forEachVector(x + begin, count, -__builtin_inff(), [&](Floats value, int64_t) {
      const Floats difference = simd::max(value - top, simd::broadcast(kLeast));
      const Floats power = simd::exp(difference);
      const Floats weighted = power * difference;
      sum += power;
      first += weighted;
      second = simd::fma(weighted, difference, second);
    });
    total.sum += static_cast<double>(simd::sum(sum));
    total.first += static_cast<double>(simd::sum(first));
    total.second += static_cast<double>(simd::sum(second));
  }
  return total;
}

int64_t countAbove(const float* x, float limit, int64_t n) {
  Ints counts{};
  forEachVector(x, n, -__builtin_inff(), [&](Floats value, int64_t) {
    counts -= value > limit;  // −1 for true
  });
  return simd::sum(counts);
}

int64_t countAtLeast(const float* x, float limit, int64_t n) {
  Ints counts{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) counts -= simd::load(x + i) >= limit;
  int64_t count = simd::sum(counts);
  for (; i < n; ++i) count += x[i] >= limit ? 1 : 0;
  return count;
}

void softmax(float* x, float scale, int64_t n) {
  const float top = largest(x, n);
  Floats sums{};
  forEachVector(x, n, -__builtin_inff(), [&](Floats value, int64_t i) {
    const Floats power = simd::exp((value - top) * scale);
    sums += power;
    storeUpTo(x, i, n, power);
  });
  const float share = 1 / simd::sum(sums);
  forEachVector(x, n, 0, [&](Floats value, int64_t i) { storeUpTo(x, i, n, value * share); });
}

}  // namespace gpt2::GPT2_LEVEL
