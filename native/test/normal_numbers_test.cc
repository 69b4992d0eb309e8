#include "gguf/normal_numbers.h"

#include <cmath>
#include <vector>

#include "check.h"

namespace {

std::vector<float> draw(uint64_t seed, size_t count, double deviation = 1) {
  std::vector<float> numbers(count);
  gpt2::drawNormal(seed, 0, count, deviation, numbers.data());
  return numbers;
}

}  // namespace

// The moments of a sample of n are within five of their standard deviations: 1/√n for the mean,
// √(2/n) for the second, √(15/n) for the third and √(96/n) for the fourth.
TEST(haveTheMomentsOfANormalDistribution) {
  constexpr size_t kCount = 1'000'000;
  for (const uint64_t seed : {0U, 1U, 1234567U}) {
    double moments[4] = {};
    for (const float number : draw(seed, kCount)) {
      double power = 1;
      for (double& moment : moments) moment += (power *= static_cast<double>(number)) / kCount;
    }
    CHECK_NEAR(moments[0], 0, 5 * std::sqrt(1.0 / kCount));
    CHECK_NEAR(moments[1], 1, 5 * std::sqrt(2.0 / kCount));
    CHECK_NEAR(moments[2], 0, 5 * std::sqrt(15.0 / kCount));
    CHECK_NEAR(moments[3], 3, 5 * std::sqrt(96.0 / kCount));
  }
}

// Φ(1) = 0.841345, Φ(2) = 0.977250
TEST(haveTheQuantilesOfANormalDistribution) {
  constexpr size_t kCount = 1'000'000;
  const std::vector<float> numbers = draw(7, kCount, 0.02);
  for (const auto& [border, share] : {std::pair{0.0F, 0.5}, {0.02F, 0.841345}, {0.04F, 0.977250}}) {
    double below = 0;
    for (const float number : numbers) below += number < border ? 1.0 / kCount : 0;
    CHECK_NEAR(below, share, 5 * std::sqrt(share * (1 - share) / kCount));
  }
}

TEST(neighboursAndSeedsAreIndependent) {
  constexpr size_t kCount = 1'000'000;
  const std::vector<float> one = draw(1, kCount);
  const std::vector<float> two = draw(2, kCount);
  for (const size_t distance : {1U, 2U, 768U}) {
    double product = 0;
    for (size_t i = distance; i < kCount; ++i) {
      product += static_cast<double>(one[i]) * static_cast<double>(one[i - distance]) / kCount;
    }
    CHECK_NEAR(product, 0, 5 / std::sqrt(static_cast<double>(kCount)));
  }
  double product = 0;
  for (size_t i = 0; i < kCount; ++i) {
    product += static_cast<double>(one[i]) * static_cast<double>(two[i]) / kCount;
  }
  CHECK_NEAR(product, 0, 5 / std::sqrt(static_cast<double>(kCount)));
}

TEST(aPartOfASequenceEqualsThatOfTheWhole) {
  const std::vector<float> whole = draw(3, 1000);
  for (const size_t first : {0U, 1U, 2U, 511U, 998U}) {
    std::vector<float> part(1000 - first);
    gpt2::drawNormal(3, first, part.size(), 1, part.data());
    for (size_t i = 0; i < part.size(); ++i) CHECK_EQUAL(part[i], whole[first + i]);
  }
}
