#include "gguf/normal_numbers.h"

#include <cmath>

#include "base/split_mix.h"

namespace gpt2 {

namespace {

// Element `index` of a seed's sequence.
uint64_t randomBits(uint64_t seed, uint64_t index) {
  return splitMix(seed + (index + 1) * kSplitMixStep);
}

// In (0, 1].
double uniform(uint64_t seed, uint64_t index) {
  return static_cast<double>((randomBits(seed, index) >> 11U) + 1) * 0x1p-53;
}

}  // namespace

uint64_t streamSeed(uint64_t seed, uint64_t stream) { return randomBits(seed, stream); }

// Two uniform numbers yield two normal ones (Box & Muller 1958).
void drawNormal(uint64_t seed, uint64_t first, size_t count, double deviation, float* out) {
  constexpr double kTwoPi = 6.283185307179586;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t index = first + i;
    const uint64_t pair = index - index % 2;
    const double radius = deviation * std::sqrt(-2 * std::log(uniform(seed, pair)));
    const double angle = kTwoPi * uniform(seed, pair + 1);
    out[i] = static_cast<float>(radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle)));
  }
}

}  // namespace gpt2
