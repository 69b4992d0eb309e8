#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// Returns the seed of one of many independent sequences.
uint64_t streamSeed(uint64_t seed, uint64_t stream);

// Writes numbers `first` to `first + count` of a seed's sequence, drawn from a normal distribution
// around 0. Each depends only on the seed and its index, so parts of a sequence can be computed
// separately.
void drawNormal(uint64_t seed, uint64_t first, size_t count, double deviation, float* out);

}  // namespace gpt2
