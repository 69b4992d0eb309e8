// The time to sample a token from the logits of GPT-2's vocabulary, for each stage and for the
// usual ones together: sampler_times [rounds]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../test/random_numbers.h"
#include "../test/stages.h"
#include "serving/sampling/log_probabilities.h"
#include "serving/sampling/sampler.h"

using gpt2::Sampler;
using gpt2::StageContext;
using gpt2::StageOptions;
using gpt2::test::stage;

namespace {

constexpr size_t kVocabulary = 50'257;
constexpr size_t kPrompt = 500;

// Microseconds.
struct Times {
  double best;
  double median;
};

template <typename Work>
Times timesOf(int rounds, const Work& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto start = Clock::now();
    work(i);
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2]};
}

void print(const std::string& name, Times times) {
  std::printf("%-56s %8.1f %8.1f\n", name.c_str(), times.best, times.median);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  gpt2::test::RandomNumbers random(1);
  // As GPT-2's: a standard deviation of about 3, and 40 tokens with most of the probability.
  std::vector<std::vector<float>> logits(16, std::vector<float>(kVocabulary));
  for (auto& row : logits) {
    for (float& logit : row) {
      double sum = 0;
      for (int i = 0; i < 3; ++i) sum += random.symmetric();
      logit = static_cast<float>(3 * sum - 90);
    }
    for (int i = 0; i < 40; ++i) row[random.below(kVocabulary)] = static_cast<float>(-76 - 0.2 * i);
  }
  std::vector<uint32_t> prompt(kPrompt);
  for (uint32_t& token : prompt) token = static_cast<uint32_t>(random.below(2000));

  const StageOptions temperature = stage("temperature", {{"temperature", 0.8}});
  const StageOptions topK = stage("topK", {{"k", 40}});
  const StageOptions topP = stage("topP", {{"p", 0.95}});
  const StageOptions minP = stage("minP", {{"p", 0.05}});
  const StageOptions repetition = stage("repetitionPenalty", {{"penalty", 1.1}, {"window", 0}});
  struct Chain {
    const char* name;
    std::vector<StageOptions> stages;
  };
  const std::vector<Chain> chains{
      {"none", {}},
      {"temperature 0", {stage("temperature", {{"temperature", 0}})}},
      {"temperature", {temperature}},
      {"topK 40", {topK}},
      {"topP 0.95", {topP}},
      {"topP 0.999", {stage("topP", {{"p", 0.999}})}},
      {"minP", {minP}},
      {"topNSigma", {stage("topNSigma", {{"n", 1}})}},
      {"typicalP", {stage("typicalP", {{"p", 0.95}})}},
      {"xtc", {stage("xtc", {{"probability", 1}, {"threshold", 0.1}})}},
      {"mirostat", {stage("mirostat", {{"tau", 5}, {"eta", 0.1}})}},
      {"repetitionPenalty", {repetition}},
      {"dry",
       {stage("dry", {{"multiplier", 0.8}, {"base", 1.75}, {"allowedLength", 2}, {"window", 0}})}},
      {"noRepeatNgramSize", {stage("noRepeatNgramSize", {{"size", 3}})}},
      {"repetitionPenalty, temperature, topK, topP, minP",
       {repetition, temperature, topK, topP, minP}}};
  std::printf("%-56s %8s %8s\n", "stages", "best, us", "median");
  for (const Chain& chain : chains) {
    Sampler sampler(chain.stages, StageContext());
    sampler.acceptPrompt(prompt);
    print(chain.name, timesOf(rounds, [&](int i) {
            const std::vector<float>& row = logits[static_cast<size_t>(i) % logits.size()];
            sampler.accept(sampler.sample(row.data(), row.size()));
          }));
  }
  for (const size_t top : {0U, 5U}) {
    print("log-probabilities, " + std::to_string(top) + " alternatives",
          timesOf(rounds, [&](int i) {
            const std::vector<float>& row = logits[static_cast<size_t>(i) % logits.size()];
            gpt2::logProbabilities(row.data(), row.size(), 7, top);
          }));
  }
}
