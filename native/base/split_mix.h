#pragma once

#include <cstdint>

namespace gpt2 {

// SplitMix64 (Steele, Lea & Flood 2014). Successive states are kSplitMixStep apart. Each yields 64
// bits.
inline constexpr uint64_t kSplitMixStep = 0x9e3779b97f4a7c15U;

inline uint64_t splitMix(uint64_t state) {
  state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9U;
  state = (state ^ (state >> 27U)) * 0x94d049bb133111ebU;
  return state ^ (state >> 31U);
}

}  // namespace gpt2
