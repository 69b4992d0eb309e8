#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// The seed of one of many independent sequences.
uint64_t streamSeed(uint64_t seed, uint64_t stream);

// Numbers `first` to `first + count` of the sequence that a seed stands for: drawn from a normal
// distribution around 0. Each is worked out from its place alone, so that parts of a sequence can
// be made apart from each other.
void drawNormal(uint64_t seed, uint64_t first, size_t count, double deviation, float* out);

}  // namespace gpt2
