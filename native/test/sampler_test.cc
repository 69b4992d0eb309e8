#include "serving/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "check.h"
#include "stages.h"

using gpt2::Sampler;
using gpt2::StageOptions;
using gpt2::test::stage;
namespace code = gpt2::code;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Sampling {
  std::vector<StageOptions> stages;
  uint64_t seed;
};

Sampling options(double temperature, int64_t topK, double topP, uint64_t seed) {
  return {{stage("temperature", {{"temperature", temperature}}),
           stage("topK", {{"k", static_cast<double>(topK)}}), stage("topP", {{"p", topP}})},
          seed};
}

Sampler samplerOf(const Sampling& sampling) {
  gpt2::StageContext context;
  context.seed = sampling.seed;
  return Sampler(sampling.stages, context);
}

uint32_t greedy(const std::vector<float>& logits) {
  return samplerOf(options(0, 0, 1, 0)).sample(logits.data(), logits.size());
}

std::vector<float> logarithms(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  logits.reserve(probabilities.size());
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<int> countDraws(const std::vector<float>& logits, const Sampling& sampling, int draws) {
  Sampler sampler = samplerOf(sampling);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts.at(sampler.sample(logits.data(), logits.size()));
  return counts;
}

// The ids that occur in enough draws for every id with a probability of 1 % or more.
std::set<size_t> drawn(const std::vector<float>& logits, const Sampling& sampling,
                       int draws = 2000) {
  const std::vector<int> counts = countDraws(logits, sampling, draws);
  std::set<size_t> ids;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) ids.insert(i);
  }
  return ids;
}

using Ids = std::set<size_t>;

// Every frequency is within five standard deviations of a binomial count; ids of probability 0
// never occur.
void checkFrequencies(const std::vector<int>& counts, const std::vector<double>& expected) {
  int draws = 0;
  for (const int count : counts) draws += count;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double p = expected[i];
    CHECK_NEAR(counts[i], draws * p, 5 * std::sqrt(draws * p * (1 - p)));
  }
}

}  // namespace

TEST(greedyTakesTheLargest) {
  CHECK_EQUAL(greedy({-3, 2, 7, 6.999999F}), 2U);
  CHECK_EQUAL(greedy({5, -1}), 0U);
  CHECK_EQUAL(greedy({-5, -1, -2}), 1U);
  CHECK_EQUAL(greedy({42}), 0U);
}

TEST(greedyTakesTheLowestIdOfEqualLogits) {
  CHECK_EQUAL(greedy({1, 3, 3, 3}), 1U);
  CHECK_EQUAL(greedy({0, 0, 0}), 0U);
  CHECK_EQUAL(greedy({-1, -0.0F, 0.0F}), 1U);
  CHECK_EQUAL(greedy(std::vector<float>(50257, -7)), 0U);
}

TEST(greedyIgnoresTheOtherOptions) {
  const std::vector<float> logits{1, 2, 3, 3};
  Sampler sampler = samplerOf(options(0, 3, 0.1, 99));
  for (int i = 0; i < 10; ++i) CHECK_EQUAL(sampler.sample(logits.data(), logits.size()), 2U);
}

TEST(aVocabularyOfOneHasOneToken) {
  const float logit = -12;
  for (const double temperature : {0.0, 0.5, 2.0}) {
    for (const double topP : {0.0, 0.3, 1.0}) {
      Sampler sampler = samplerOf(options(temperature, 1, topP, 7));
      CHECK_EQUAL(sampler.sample(&logit, 1), 0U);
    }
  }
}

// With 2^k equal logits, the sampled id is the upper k bits of the generator's output. Seed 0 of
// SplitMix64 gives e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f (Vigna's splitmix64.c).
TEST(drawsFromSplitMix64) {
  const std::vector<float> logits(1U << 20U, 0.5F);
  Sampler sampler = samplerOf(options(1, 0, 1, 0));
  CHECK_EQUAL(sampler.sample(logits.data(), logits.size()), 0xe220aU);
  CHECK_EQUAL(sampler.sample(logits.data(), logits.size()), 0x6e789U);
  CHECK_EQUAL(sampler.sample(logits.data(), logits.size()), 0x06c45U);
}

// Seed 1234567 gives 6457827717110365317, 3203168211198807973, … (Rosetta Code's "Splitmix64").
TEST(drawsFromSplitMix64WithAnotherSeed) {
  const std::vector<float> logits(1U << 16U, 0);
  Sampler sampler = samplerOf(options(1, 0, 1, 1234567));
  for (const uint64_t output : {6457827717110365317U, 3203168211198807973U, 9817491932198370423U,
                                4593380528125082431U, 16408922859458223821U}) {
    CHECK_EQUAL(sampler.sample(logits.data(), logits.size()), output >> 48U);
  }
}

TEST(theSameSeedGivesTheSameTokens) {
  std::vector<float> logits(300);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  for (const Sampling& base : {options(0.8, 0, 1, 0), options(1, 40, 1, 0), options(1.3, 0, 0.9, 0),
                               options(1, 100, 0.5, 0)}) {
    std::set<std::vector<uint32_t>> sequences;
    for (const uint64_t seed : {0U, 1U, 2U, 3U}) {
      Sampling sampling = base;
      sampling.seed = seed;
      std::vector<std::vector<uint32_t>> runs(2);
      for (std::vector<uint32_t>& run : runs) {
        Sampler sampler = samplerOf(sampling);
        for (int i = 0; i < 30; ++i) run.push_back(sampler.sample(logits.data(), logits.size()));
      }
      CHECK(runs[0] == runs[1]);
      sequences.insert(runs[0]);
    }
    CHECK_EQUAL(sequences.size(), 4U);
  }
}

TEST(frequenciesFollowTheSoftmax) {
  const std::vector<double> probabilities{0.03, 0.4, 0.17, 0.001, 0.25, 0.149};
  checkFrequencies(countDraws(logarithms(probabilities), options(1, 0, 1, 11), 200000),
                   probabilities);
}

// The expected softmax of logits / T is computed directly.
TEST(frequenciesFollowTheTemperature) {
  const std::vector<float> logits{1.5F, -0.5F, 0.25F, 2, 900 - 899.5F};
  for (const double temperature : {0.3, 0.7, 2.5}) {
    std::vector<double> expected(logits.size());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit / temperature);
    for (size_t i = 0; i < logits.size(); ++i)
      expected[i] = std::exp(logits[i] / temperature) / sum;
    checkFrequencies(countDraws(logits, options(temperature, 0, 1, 5), 200000), expected);
  }
}

TEST(frequenciesFollowTheRemainingCandidates) {
  // The two likeliest of .5, .3, .2 have .625 and .375 of their sum.
  const std::vector<float> logits = logarithms({0.2, 0.5, 0.3});
  checkFrequencies(countDraws(logits, options(1, 2, 1, 3), 100000), {0, 0.625, 0.375});
  checkFrequencies(countDraws(logits, options(1, 0, 0.7, 4), 100000), {0, 0.625, 0.375});
  // Temperature ½ squares the weights first: .25, .09, .04 of .38. Then p = .9 keeps two.
  checkFrequencies(countDraws(logits, options(0.5, 0, 0.85, 6), 100000), {0, 25. / 34, 9. / 34});
}

TEST(largeLogitsDoNotOverflow) {
  checkFrequencies(countDraws({1e30F, 1e30F, -1e30F}, options(1, 0, 1, 8), 10000), {0.5, 0.5, 0});
  const float largest = std::numeric_limits<float>::max();
  checkFrequencies(countDraws({largest, -largest}, options(1, 0, 0.9, 8), 1000), {1, 0});
  checkFrequencies(countDraws({0, 1e-3F}, options(1e-6, 0, 1, 8), 1000), {0, 1});
  checkFrequencies(countDraws({-100, 100}, options(1e6, 0, 1, 8), 100000), {0.49995, 0.50005});
}

// The reciprocals of these temperatures are not finite.
TEST(temperaturesNextToZeroAreGreedy) {
  const std::vector<float> logits{1, 5, 2, 3};
  for (const double temperature : {1e-300, 5e-309, 1e-310, 5e-324}) {
    CHECK(drawn(logits, options(temperature, 0, 1, 1), 100) == Ids{1});
    CHECK(drawn(logits, options(temperature, 3, 0.9, 1), 100) == Ids{1});
  }
}

TEST(topKKeepsTheLikeliest) {
  const std::vector<float> logits{1, 3, 2, 3, 0};
  CHECK(drawn(logits, options(3, 1, 1, 1)) == Ids{1});  // of equal logits, the lower id
  CHECK((drawn(logits, options(3, 2, 1, 1)) == Ids{1, 3}));
  CHECK((drawn(logits, options(3, 3, 1, 1)) == Ids{1, 2, 3}));
  CHECK((drawn(logits, options(3, 4, 1, 1)) == Ids{0, 1, 2, 3}));
  const Ids all{0, 1, 2, 3, 4};
  for (const int64_t k : {0, 5, 6, 50257}) CHECK(drawn(logits, options(3, k, 1, 1)) == all);
}

// The cumulative sums of .5, .3, .2 are .5, .8, 1. A nucleus is the smallest set whose sum reaches
// p.
TEST(topPKeepsTheNucleus) {
  const std::vector<float> logits = logarithms({0.2, 0.5, 0.3});
  for (const double p : {0.0, 0.01, 0.3, 0.4999})
    CHECK(drawn(logits, options(1, 0, p, 2)) == Ids{1});
  for (const double p : {0.5001, 0.6, 0.7999}) {
    CHECK((drawn(logits, options(1, 0, p, 2)) == Ids{1, 2}));
  }
  for (const double p : {0.8001, 0.95, 1.0}) {
    CHECK((drawn(logits, options(1, 0, p, 2)) == Ids{0, 1, 2}));
  }
}

// Four equal logits have a probability of exactly ¼ each. A sum equal to p suffices.
TEST(topPIsReachedByEquality) {
  const std::vector<float> logits(4, 1.25F);
  CHECK(drawn(logits, options(1, 0, 0.25, 2)) == Ids{0});
  CHECK((drawn(logits, options(1, 0, 0.5, 2)) == Ids{0, 1}));
  CHECK((drawn(logits, options(1, 0, 0.75, 2)) == Ids{0, 1, 2}));
  CHECK((drawn(logits, options(1, 0, 0.7501, 2)) == Ids{0, 1, 2, 3}));
}

// p is a share of what top-k keeps: of .4, .3, .2, .1, it keeps 4/7 and 3/7, and 4/7 reaches .55.
TEST(topPComesAfterTopK) {
  const std::vector<float> logits = logarithms({0.1, 0.2, 0.3, 0.4});
  CHECK(drawn(logits, options(1, 2, 0.55, 2)) == Ids{3});
  CHECK((drawn(logits, options(1, 2, 0.6, 2)) == Ids{2, 3}));
  CHECK((drawn(logits, options(1, 0, 0.55, 2)) == Ids{2, 3}));
}

// Nuclei larger than the number of tokens that is sorted first.
TEST(keepsALargeNucleus) {
  const std::vector<float> uniform(50257, 0);
  // Half of 50257 equal tokens is reached by 25129 of them, those with the lowest ids.
  Sampler sampler = samplerOf(options(1, 0, 0.5, 12));
  uint32_t largest = 0;
  for (int i = 0; i < 50; ++i) {
    largest = std::max(largest, sampler.sample(uniform.data(), uniform.size()));
  }
  CHECK(largest < 25129);
  CHECK(largest > 20000);  // all of 50 fair draws below it: (20000/25129)^50, about 1e-5

  // Around the numbers of tokens that are sorted at a time.
  for (const size_t count : {63U, 64U, 65U, 511U, 512U, 513U}) {
    const std::vector<float> logits(600, 0);
    const std::set<size_t> ids =
        drawn(logits, options(1, 0, (static_cast<double>(count) - 0.5) / 600, 13), 5000);
    CHECK_EQUAL(*ids.rbegin(), count - 1);
  }
}

TEST(frequenciesOfALargeVocabularyFollowTheSoftmax) {
  // Each token is as likely as its number; the last thousand have probability 0.
  constexpr size_t kLikely = 2000;
  std::vector<float> logits(kLikely + 1000, -1e30F);
  for (size_t i = 0; i < kLikely; ++i) logits[i] = std::log(static_cast<float>(i + 1));
  const std::vector<int> counts = countDraws(logits, options(1, 0, 1, 11), 20000);
  // In hundreds: the sum of the numbers from first + 1 to first + 100.
  std::vector<int> hundreds(logits.size() / 100);
  std::vector<double> expected(hundreds.size());
  constexpr double kTotal = kLikely * (kLikely + 1) / 2.0;
  for (size_t i = 0; i < counts.size(); ++i) hundreds[i / 100] += counts[i];
  for (size_t i = 0; i < kLikely / 100; ++i) {
    expected[i] = (100.0 * 100.0 * static_cast<double>(i) + 5050) / kTotal;
  }
  checkFrequencies(hundreds, expected);
}

TEST(aSamplerServesSeveralVocabularies) {
  const std::vector<float> small{0, 1};
  const std::vector<float> large(1000, 0);
  Sampler sampler = samplerOf(options(1, 0, 0.99, 1));
  uint32_t most = 0;
  for (int i = 0; i < 50; ++i) {
    CHECK(sampler.sample(small.data(), small.size()) < 2);
    most = std::max(most, sampler.sample(large.data(), large.size()));
  }
  CHECK(most > 500);
}

TEST(rejectsLogitsThatAreNotNumbers) {
  for (const float bad : {kNan, -kNan, kInfinity}) {
    for (const size_t at : {0U, 1U, 2U}) {
      std::vector<float> logits{1, 2, 3};
      logits[at] = bad;
      for (const Sampling& sampling :
           {options(0, 0, 1, 0), options(1, 0, 1, 0), options(1, 2, 0.5, 0)}) {
        Sampler sampler = samplerOf(sampling);
        CHECK_ERROR(code::kNotFinite, sampler.sample(logits.data(), logits.size()));
        logits[at] = 0;
        CHECK(sampler.sample(logits.data(), logits.size()) < 3);
        logits[at] = bad;
      }
    }
  }
}
