#pragma once

#include <cstdint>
#include <vector>

#include "check.h"
#include "loaded_model.h"
#include "reference_model.h"
#include "stages.h"

// Helpers for the tests of sessions. Like check.h, include it in one file of a program.

namespace gpt2::test {

inline constexpr size_t kVocabulary = 61;

inline std::vector<uint32_t> slice(const std::vector<uint32_t>& tokens, size_t begin, size_t end) {
  return {tokens.begin() + static_cast<std::ptrdiff_t>(begin),
          tokens.begin() + static_cast<std::ptrdiff_t>(end)};
}

inline std::vector<float> rowOf(const std::vector<float>& logits, size_t row) {
  const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(row * kVocabulary);
  return {begin, begin + static_cast<std::ptrdiff_t>(kVocabulary)};
}

// Expects two computations to give the same bits.
inline void checkSame(const std::vector<float>& row, const std::vector<float>& expected) {
  CHECK(row == expected);
}

inline GenerateOptions greedy(int64_t maxTokens) {
  GenerateOptions options;
  options.maxTokens = maxTokens;
  options.stages = {greedyStage()};
  return options;
}

struct Generated {
  Generation result;
  std::vector<uint32_t> tokens;
};

inline Generated generate(LoadedModel& model, Session& session, int64_t keep,
                          const std::vector<uint32_t>& prompt, const GenerateOptions& options,
                          const CancelFlag* cancelled = nullptr) {
  Generated generated;
  generated.result = generate(
      *model, session, keep, prompt, options,
      [&](NewToken&& token) { generated.tokens.push_back(token.token); }, cancelled);
  CHECK_EQUAL(generated.result.completionTokens, static_cast<int64_t>(generated.tokens.size()));
  return generated;
}

}  // namespace gpt2::test
