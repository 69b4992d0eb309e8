// The stages of a sampler, alone and in chains, against the cases that
// scripts/reference/sampling.py computed from the published formulas.

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "serving/sampling/sampler.h"
#include "stages.h"

using gpt2::Sampler;
using gpt2::StageContext;
using gpt2::StageOptions;
using gpt2::test::stage;
namespace code = gpt2::code;

namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

std::vector<std::string> wordsOf(const std::string& text, char separator = ' ') {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, separator);) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

uint32_t toToken(const std::string& text) { return static_cast<uint32_t>(std::stoul(text)); }

// A step of a case: what remains of logits, by token.
struct Step {
  std::vector<uint32_t> drawn;  // since the step before
  std::vector<float> logits;
  std::map<uint32_t, double> expected;
};

struct Case {
  std::string name;
  std::vector<StageOptions> stages;
  std::vector<uint32_t> prompt;
  StageContext context;
  std::vector<Step> steps;
};

void parseStage(const std::vector<std::string>& words, Case& parsed) {
  StageOptions options = stage(words.at(1), {});
  // What the file leaves out, the table of options in lib/ adds.
  options.numbers["window"] = 0;
  for (size_t i = 2; i < words.size(); ++i) {
    const size_t sign = words[i].find('=');
    options.numbers[words[i].substr(0, sign)] =
        std::strtod(words[i].substr(sign + 1).c_str(), nullptr);
  }
  parsed.stages.push_back(options);
}

void parseLine(const std::string& line, std::vector<Case>& cases, std::vector<uint32_t>& drawn) {
  const std::vector<std::string> words = wordsOf(line);
  const std::string& key = words.at(0);
  if (key == "case") {
    cases.push_back({words.at(1), {}, {}, {}, {}});
    drawn.clear();
    return;
  }
  Case& parsed = cases.back();
  if (key == "stage") return parseStage(words, parsed);
  for (size_t i = 1; i < words.size(); ++i) {
    if (key == "sequences") {
      std::vector<uint32_t> sequence;
      for (const std::string& id : wordsOf(words[i], ',')) sequence.push_back(toToken(id));
      parsed.stages.back().sequences.push_back(sequence);
    } else if (key == "biases") {
      parsed.stages.back().values.push_back(std::strtod(words[i].c_str(), nullptr));
    } else if (key == "prompt") {
      parsed.prompt.push_back(toToken(words[i]));
    } else if (key == "new" || key == "step") {
      drawn.push_back(toToken(words[i]));
    } else if (key == "endoftext") {
      parsed.context.endOfText.insert(toToken(words[i]));
    } else if (key == "logits") {
      if (i == 1) parsed.steps.push_back({std::exchange(drawn, {}), {}, {}});
      parsed.steps.back().logits.push_back(std::strtof(words[i].c_str(), nullptr));
    } else if (key == "expect") {
      const size_t sign = words[i].find(':');
      parsed.steps.back().expected[toToken(words[i].substr(0, sign))] =
          std::strtod(words[i].substr(sign + 1).c_str(), nullptr);
    } else {
      throw std::runtime_error("a line of an unknown kind: " + line);
    }
  }
}

const std::vector<Case>& goldenCases() {
  static const std::vector<Case> all = [] {
    std::ifstream file(GOLDEN_CASES);
    std::vector<Case> cases;
    std::vector<uint32_t> drawn;
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && line[0] != '#') parseLine(line, cases, drawn);
    }
    return cases;
  }();
  return all;
}

std::vector<float> logitsAfter(Sampler& sampler, const std::vector<float>& logits) {
  sampler.sample(logits.data(), logits.size());
  std::vector<float> left(logits.size());
  sampler.writeLogits(left.data());
  return left;
}

// Empty if the logits are those expected, else what differs.
std::string difference(const std::vector<float>& left, const std::map<uint32_t, double>& expected) {
  constexpr double kRounding = 3e-6;  // of three changes in f32
  for (uint32_t token = 0; token < left.size(); ++token) {
    const auto found = expected.find(token);
    const double logit = left[token];
    const bool isSame =
        found == expected.end()
            ? left[token] == kRemoved
            : std::abs(logit - found->second) <= kRounding * std::max(1.0, std::abs(found->second));
    if (isSame) continue;
    return "token " + std::to_string(token) + " has " + std::to_string(logit) + ", expected " +
           (found == expected.end() ? "none" : std::to_string(found->second));
  }
  return "";
}

}  // namespace

TEST(theCasesAreThere) {
  std::map<std::string, int> counts;
  for (const Case& golden : goldenCases()) {
    for (const StageOptions& options : golden.stages) ++counts[options.name];
  }
  CHECK_EQUAL(counts.size(), 18U);
  for (const auto& [name, count] : counts) CHECK(count >= 10);
}

TEST(stagesLeaveWhatTheirFormulasSay) {
  for (const Case& golden : goldenCases()) {
    Sampler sampler(golden.stages, golden.context);
    sampler.acceptPrompt(golden.prompt);
    for (const Step& step : golden.steps) {
      for (const uint32_t token : step.drawn) sampler.accept(token);
      const std::string differs = difference(logitsAfter(sampler, step.logits), step.expected);
      CHECK_EQUAL(golden.name + ": " + differs, golden.name + ": ");
    }
  }
}

// A sampler that is reset, and a clone made in the middle, go through the same states.
TEST(samplersCanBeResetAndCloned) {
  for (const Case& golden : goldenCases()) {
    Sampler sampler(golden.stages, golden.context);
    sampler.acceptPrompt({1, 0, 0});
    try {
      logitsAfter(sampler, golden.steps[0].logits);
    } catch (const gpt2::Error&) {  // some exclude all tokens after this prompt
    }
    sampler.accept(1);
    sampler.reset();
    sampler.acceptPrompt(golden.prompt);
    std::unique_ptr<Sampler> clone = sampler.clone();
    for (const Step& step : golden.steps) {
      for (const uint32_t token : step.drawn) {
        sampler.accept(token);
        clone->accept(token);
      }
      for (Sampler* each : {&sampler, clone.get()}) {
        const std::string differs = difference(logitsAfter(*each, step.logits), step.expected);
        CHECK_EQUAL(golden.name + ": " + differs, golden.name + ": ");
      }
      clone = clone->clone();
    }
  }
}

TEST(clonesDrawTheSameTokens) {
  const std::vector<float> logits(100, 0);
  StageContext context;
  context.seed = 5;
  Sampler sampler({stage("xtc", {{"probability", 0.5}, {"threshold", 0.005}})}, context);
  for (int i = 0; i < 10; ++i) sampler.sample(logits.data(), logits.size());
  const auto clone = sampler.clone();
  for (int i = 0; i < 100; ++i) {
    CHECK_EQUAL(sampler.sample(logits.data(), logits.size()),
                clone->sample(logits.data(), logits.size()));
  }
}

// Of four tokens, each as likely as the others, XTC leaves the last, in as many draws as its
// probability says: within five standard deviations.
TEST(xtcHasItsProbability) {
  const std::vector<float> logits(4, 0);
  for (const double probability : {0.0, 0.3, 1.0}) {
    StageContext context;
    context.seed = 9;
    Sampler sampler({stage("xtc", {{"probability", probability}, {"threshold", 0.1}})}, context);
    constexpr int kDraws = 4000;
    int excluded = 0;
    for (int i = 0; i < kDraws; ++i) {
      const std::vector<float> left = logitsAfter(sampler, logits);
      if (left[0] == kRemoved) {
        ++excluded;
        CHECK(left[1] == kRemoved && left[2] == kRemoved && left[3] == 0);
      }
    }
    CHECK_NEAR(excluded, kDraws * probability,
               5 * std::sqrt(kDraws * probability * (1 - probability)));
  }
}

TEST(optionsThatExcludeEveryTokenFail) {
  const std::vector<float> logits{1, 2};
  StageOptions all = stage("suppressTokens", {});
  all.sequences = {{0}, {1}};
  Sampler sampler({all, stage("topP", {{"p", 0.5}})}, {});
  CHECK_ERROR(code::kInvalidArgument, sampler.sample(logits.data(), logits.size()));
  const std::vector<float> none(2, kRemoved);
  Sampler plain({}, {});
  CHECK_ERROR(code::kInvalidArgument, plain.sample(none.data(), none.size()));
}

TEST(hugeSettingsKeepLogitsInRange) {
  const std::vector<float> logits{3e38F, 1, -3e38F, 0};
  StageOptions bias = stage("logitBias", {});
  bias.sequences = {{0}, {1}};
  bias.values = {3e38, -1e300};
  for (const StageOptions& options :
       {stage("repetitionPenalty", {{"penalty", 1e-300}, {"window", 0}}),
        stage("repetitionPenalty", {{"penalty", 1e300}, {"window", 0}}),
        stage("presencePenalty", {{"penalty", -1e300}, {"window", 0}}),
        stage("frequencyPenalty", {{"penalty", 1e300}, {"window", 0}}),
        stage("temperature", {{"temperature", 1e-30}}), bias}) {
    Sampler sampler(
        {options, stage("temperature", {{"temperature", 0.5}}), stage("typicalP", {{"p", 0.9}})},
        {});
    sampler.acceptPrompt({0, 2});
    CHECK(sampler.sample(logits.data(), logits.size()) < 4);
  }
}
