#pragma once

#include <cstdint>
#include <random>

namespace gpt2::test {

// Random numbers that are the same on every machine: the C++ standard defines the generator
// exactly, but not the distributions.
class RandomNumbers {
 public:
  explicit RandomNumbers(uint64_t seed) : generator_(seed) {}

  uint64_t below(uint64_t bound) { return generator_() % bound; }
  // In [-1, 1).
  double symmetric() { return static_cast<double>(generator_() >> 11U) * 0x1p-52 - 1; }

 private:
  std::mt19937_64 generator_;
};

}  // namespace gpt2::test
