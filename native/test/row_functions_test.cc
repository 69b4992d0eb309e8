// Checks functions of rows against double precision.

#include "kernels/row_functions.h"

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "random_numbers.h"

using gpt2::Activation;
using gpt2::test::RandomNumbers;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> randomFloats(size_t count, double scale, double mean, uint64_t seed) {
  RandomNumbers numbers(seed);
  std::vector<float> floats(count);
  for (float& number : floats) number = static_cast<float>(mean + scale * numbers.symmetric());
  return floats;
}

double activationOf(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
  }
  return NAN;
}

const Activation kActivations[] = {Activation::kNone, Activation::kGeluTanh, Activation::kGeluErf,
                                   Activation::kRelu, Activation::kSilu};

const size_t kLengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 100, 768};

}  // namespace

TEST(normalisedRowsAreExact) {
  for (const size_t n : kLengths) {
    // With a mean of 1000, elements are large and close together.
    for (const double mean : {0.0, 3.0, 1000.0}) {
      const std::vector<float> x = randomFloats(n, 1, mean, n);
      const std::vector<float> weight = randomFloats(n, 1, 1, n + 1);
      const std::vector<float> bias = randomFloats(n, 1, 0, n + 2);
      constexpr float kEpsilon = 1e-5F;
      double average = 0;
      for (const float number : x) average += number / static_cast<double>(n);
      double variance = 0;
      for (const float number : x) {
        variance += (number - average) * (number - average) / static_cast<double>(n);
      }
      for (const bool hasBias : {true, false}) {
        std::vector<float> y(n + 1, -7);
        gpt2::normalize(x.data(), weight.data(), hasBias ? bias.data() : nullptr, kEpsilon,
                        static_cast<int64_t>(n), y.data());
        for (size_t i = 0; i < n; ++i) {
          const double normal = (x[i] - average) / std::sqrt(variance + double{kEpsilon});
          CHECK_NEAR(y[i], normal * weight[i] + (hasBias ? double{bias[i]} : 0), 3e-6);
        }
        CHECK_EQUAL(y[n], -7.0F);
      }
    }
  }
}

TEST(equalElementsNormaliseToZero) {
  const std::vector<float> x(20, 0.1F);
  const std::vector<float> weight(20, 2);
  std::vector<float> y(20);
  gpt2::normalize(x.data(), weight.data(), nullptr, 1e-5F, 20, y.data());
  for (const float number : y) CHECK_NEAR(number, 0, 1e-4);
}

TEST(theLargestElementIsFoundAtAnyIndex) {
  for (const size_t n : {1U, 3U, 16U, 17U, 40U}) {
    for (size_t at = 0; at < n; ++at) {
      std::vector<float> x(n, -3);
      x[at] = -2;
      CHECK_EQUAL(gpt2::largest(x.data(), static_cast<int64_t>(n)), -2.0F);
    }
  }
}

TEST(infinityAndNanAreFoundAtAnyIndex) {
  for (const size_t n : {1U, 3U, 16U, 17U, 40U}) {
    std::vector<float> x(n, 3e38F);
    CHECK(gpt2::areFinite(x.data(), static_cast<int64_t>(n)));
    for (size_t at = 0; at < n; ++at) {
      for (const float wrong : {NAN, INFINITY, -INFINITY}) {
        x[at] = wrong;
        CHECK(!gpt2::areFinite(x.data(), static_cast<int64_t>(n)));
        x[at] = 0;
      }
    }
  }
}

TEST(sumsHaveDoublePrecision) {
  for (const int64_t n : {1, 15, 16, 17, 512, 1000}) {
    std::vector<float> x(static_cast<size_t>(n), 0x1p-10F);
    x[0] = 0x1p30F;  // in f32 the other elements would be lost
    CHECK_EQUAL(gpt2::sumInDouble(x.data(), n), 0x1p30 + 0x1p-10 * static_cast<double>(n - 1));
  }
}

TEST(sumsOfPowersHaveTheirPrecision) {
  for (const size_t n : kLengths) {
    for (const double size : {0.01, 1.0, 30.0, 1e4}) {
      std::vector<float> x = randomFloats(n, size, 5, n);
      if (n > 2) x[n / 2] = -kInfinity;
      const float top = *std::max_element(x.begin(), x.end());
      double sum = 0;
      double first = 0;
      double second = 0;
      for (const float number : x) {
        if (number == -kInfinity) continue;
        const double difference = static_cast<double>(number) - static_cast<double>(top);
        sum += std::exp(difference);
        first += difference * std::exp(difference);
        second += difference * difference * std::exp(difference);
      }
      const gpt2::ExpSums sums = gpt2::expSums(x.data(), top, static_cast<int64_t>(n));
      CHECK_NEAR(sums.sum, sum, 1e-6 * sum);
      CHECK_NEAR(sums.first, first, 2e-6 * std::abs(first) + 1e-30);
      CHECK_NEAR(sums.second, second, 3e-6 * second + 1e-30);
    }
  }
}

TEST(sumsOfPowersOfManyNumbersHaveTheirPrecision) {
  constexpr int64_t kCount = 50'257;
  const std::vector<float> x(kCount, -0.5F);
  const gpt2::ExpSums sums = gpt2::expSums(x.data(), 0.5F, kCount);
  CHECK_NEAR(sums.sum, kCount * std::exp(-1), 2e-7 * kCount);
  CHECK_NEAR(sums.first, -kCount * std::exp(-1), 2e-7 * kCount);
}

TEST(countsAreThoseOfComparisons) {
  for (const size_t n : kLengths) {
    std::vector<float> x = randomFloats(n, 1, 0, n);
    for (float& number : x) number = std::round(4 * number);
    for (const float limit : {-9.0F, -1.0F, 0.0F, 3.0F, kInfinity, -kInfinity}) {
      const auto count = static_cast<int64_t>(n);
      CHECK_EQUAL(gpt2::countAbove(x.data(), limit, count),
                  std::count_if(x.begin(), x.end(), [=](float each) { return each > limit; }));
      CHECK_EQUAL(gpt2::countAtLeast(x.data(), limit, count),
                  std::count_if(x.begin(), x.end(), [=](float each) { return each >= limit; }));
    }
  }
}

TEST(softmaxSumsToOne) {
  for (const size_t n : kLengths) {
    for (const double size : {1.0, 30.0, 1e4}) {
      const std::vector<float> x = randomFloats(n, size, 5, n);
      std::vector<float> y = x;
      y.push_back(-7);
      constexpr double kScale = 0.125;
      gpt2::softmax(y.data(), static_cast<float>(kScale), static_cast<int64_t>(n));
      const double top = *std::max_element(x.begin(), x.end());
      double sum = 0;
      for (const float number : x) sum += std::exp((number - top) * kScale);
      for (size_t i = 0; i < n; ++i) {
        const double expected = std::exp((x[i] - top) * kScale) / sum;
        CHECK_NEAR(y[i], expected, 1e-6 * expected + 1e-37);
      }
      CHECK_EQUAL(y[n], -7.0F);
    }
  }
}

TEST(softmaxOfNanOrInfinityIsNan) {
  for (const float odd : {NAN, kInfinity}) {
    std::vector<float> x = randomFloats(20, 1, 0, 1);
    x[11] = odd;
    gpt2::softmax(x.data(), 1, 20);
    for (const float number : x) CHECK(std::isnan(number));
  }
  std::vector<float> x = randomFloats(20, 1, 0, 1);
  x[11] = -kInfinity;
  gpt2::softmax(x.data(), 1, 20);
  CHECK_EQUAL(x[11], 0.0F);
  CHECK(!std::isnan(x[0]));
}

TEST(activationsAreExact) {
  std::vector<float> x;
  for (double number = -12; number <= 12; number += 1.0 / 256) {
    x.push_back(static_cast<float>(number));
  }
  for (const float number : {0.0F, -0.0F, 1e-30F, -1e-30F, 100.0F, -100.0F, 3e38F, -3e38F}) {
    x.push_back(number);
  }
  for (const Activation activation : kActivations) {
    std::vector<float> y(x.size());
    gpt2::applyEpilogue(x.data(), nullptr, activation, nullptr, static_cast<int64_t>(x.size()),
                        y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = activationOf(activation, x[i]);
      // The exponent, of up to 10 where the result is not next to 0 or x, is rounded to 24 bits.
      CHECK_NEAR(y[i], expected, 4e-7 * std::max(std::fabs(expected), 0.1));
    }
    std::vector<float> odd{NAN, kInfinity};
    gpt2::applyEpilogue(odd.data(), nullptr, activation, nullptr, 2, odd.data());
    CHECK(std::isnan(odd[0]));
    CHECK_EQUAL(odd[1], kInfinity);
  }
}

// Where 1 + erf(x ÷ √2) would be a difference of nearly equal numbers.
TEST(geluInTheErfFormHasARelativeErrorOfAFewBits) {
  for (double number = -13; number <= 13; number += 1.0 / 64) {
    auto y = static_cast<float>(number);
    const double expected = activationOf(Activation::kGeluErf, y);
    gpt2::applyEpilogue(&y, nullptr, Activation::kGeluErf, nullptr, 1, &y);
    // x² ÷ 2 is rounded to 24 bits before it becomes an exponent.
    const double tolerance = 5e-7 + 6e-8 * number * number / 2;
    CHECK_NEAR(y, expected, tolerance * std::fabs(expected) + 1e-37);
  }
}

TEST(theEpilogueAddsBiasThenActivatesThenAddsTheResidual) {
  for (const size_t n : kLengths) {
    const std::vector<float> x = randomFloats(n, 2, 0, 1);
    const std::vector<float> bias = randomFloats(n, 1, 0, 2);
    const std::vector<float> residual = randomFloats(n, 1, 0, 3);
    for (const Activation activation : kActivations) {
      std::vector<float> y(n + 1, -7);
      gpt2::applyEpilogue(x.data(), bias.data(), activation, residual.data(),
                          static_cast<int64_t>(n), y.data());
      for (size_t i = 0; i < n; ++i) {
        const double sum = double{x[i]} + double{bias[i]};
        CHECK_NEAR(y[i], activationOf(activation, sum) + residual[i], 5e-7);
      }
      CHECK_EQUAL(y[n], -7.0F);
    }
  }
}

// Every half, the numbers halfway between two of them, and their neighbours.
TEST(f16IsRoundedToTheNearestEven) {
  std::vector<float> numbers;
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto value = [](uint32_t half) {
      const auto short16 = static_cast<ggml_fp16_t>(half);
      float number = 0;
      ggml_fp16_to_fp32_row(&short16, &number, 1);
      return number;
    };
    const float below = value(bits);
    const float above = bits == 0x7BFF ? 65536 : value(bits + 1);
    const float middle = below + (above - below) / 2;
    for (const float number :
         {below, middle, std::nextafter(middle, 0.0F), std::nextafter(middle, kInfinity)}) {
      numbers.push_back(number);
      numbers.push_back(-number);
    }
  }
  for (const float number : {kInfinity, -kInfinity, 1e30F, -1e30F, 1e-30F, -0.0F}) {
    numbers.push_back(number);
  }
  std::vector<uint16_t> rounded(numbers.size() + 1, 7);
  gpt2::roundToF16(numbers.data(), static_cast<int64_t>(numbers.size()), rounded.data());
  CHECK_EQUAL(rounded.back(), 7);
  for (size_t i = 0; i < numbers.size(); ++i) {
    CHECK_EQUAL(rounded[i], ggml_fp32_to_fp16(numbers[i]));
  }
  const float nan = std::nanf("");
  gpt2::roundToF16(&nan, 1, rounded.data());
  CHECK((rounded[0] & 0x7C00) == 0x7C00 && (rounded[0] & 0x3FF) != 0);
}
