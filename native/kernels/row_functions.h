#pragma once

#include <cstdint>

#include "kernels/activation.h"

// Functions of one row of elements, in f32 unless stated otherwise. The result for a row does not
// depend on other rows.

namespace gpt2 {

// Layer normalisation (Ba et al. 2016), biased variance: (x − mean) / √(variance + ε) · weight +
// bias. x, y, weight: [n]; bias: [n] or null. y may be x.
void normalize(const float* x, const float* weight, const float* bias, float epsilon, int64_t n,
               float* y);

// The epilogue of a matrix product: y = activation(x + bias) + residual. All [n]; bias and residual
// may be null; y may be x.
void applyEpilogue(const float* x, const float* bias, Activation activation, const float* residual,
                   int64_t n, float* y);

// Rounds to IEEE 754 binary16, to the nearest and ties to even. NaN stays NaN.
void roundToF16(const float* x, int64_t n, uint16_t* y);

// The largest element; n ≥ 1. Unspecified if any element is NaN.
float largest(const float* x, int64_t n);

// Whether all elements are finite.
bool areFinite(const float* x, int64_t n);

// The sum in double precision, in the same order on every machine.
double sumInDouble(const float* x, int64_t n);

// Σ e^d, Σ d e^d and Σ d² e^d with d = x − top, where top is the largest element. An element of −∞
// adds nothing.
struct ExpSums {
  double sum;
  double first;
  double second;
};
ExpSums expSums(const float* x, float top, int64_t n);

// The number of elements above a limit, and of those that are at least the limit.
int64_t countAbove(const float* x, float limit, int64_t n);
int64_t countAtLeast(const float* x, float limit, int64_t n);

// softmax(scale · x), in place.
void softmax(float* x, float scale, int64_t n);

}  // namespace gpt2
