#pragma once

#include <cstdint>

// Functions of the standard library's names. Its own are inline: compiled for one instruction set,
// they could be linked into code that runs on any processor.

namespace gpt2::GPT2_LEVEL {

template <class Number>
constexpr Number min(Number a, Number b) {
  return b < a ? b : a;
}

template <class Number>
constexpr Number max(Number a, Number b) {
  return a < b ? b : a;
}

template <class Number>
constexpr Number clamp(Number value, Number low, Number high) {
  return max(low, min(value, high));
}

inline void copy(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

inline void fill(float* to, int64_t count, float value) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

}  // namespace gpt2::GPT2_LEVEL
