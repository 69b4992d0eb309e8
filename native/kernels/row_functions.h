#pragma once

#include <cstdint>

// What is done to one row of numbers. In f32; a row gives the same bits whatever rows are around
// it.

namespace gpt2 {

// Layer normalisation (Ba et al. 2016), biased variance: (x − mean) / √(variance + ε) · weight +
// bias. x, y, weight: [n]; bias: [n] or null. y may be x.
void normalize(const float* x, const float* weight, const float* bias, float epsilon, int64_t n,
               float* y);

// What follows a product: y = activation(x + bias) + residual. All [n]; bias and residual may be
// null; y may be x. The activation is GELU in the tanh form that GPT-2 was trained with (Hendrycks
// & Gimpel 2016), or none:
//   ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) = x · sigmoid(2 √(2/π) (x + 0.044715 x³))
void finish(const float* x, const float* bias, bool gelu, const float* residual, int64_t n,
            float* y);

// The largest number; n ≥ 1. Any, if one of them is none.
float largest(const float* x, int64_t n);

// Whether all are finite.
bool areFinite(const float* x, int64_t n);

// The same on every machine.
double sumInDouble(const float* x, int64_t n);

// softmax(scale · x), in place.
void softmax(float* x, float scale, int64_t n);

}  // namespace gpt2
