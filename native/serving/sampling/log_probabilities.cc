#include "serving/sampling/log_probabilities.h"

#include <cmath>
#include <limits>

#include "kernels/row_functions.h"
#include "serving/sampling/candidates.h"

namespace gpt2 {

LogProbabilities logProbabilities(const float* logits, size_t vocabSize, uint32_t token,
                                  size_t top) {
  const auto count = static_cast<int64_t>(vocabSize);
  const float largestLogit = largest(logits, count);
  const double total =
      static_cast<double>(largestLogit) + std::log(expSums(logits, largestLogit, count).sum);
  const auto logProbability = [total](float logit) {
    return static_cast<float>(static_cast<double>(logit) - total);
  };
  LogProbabilities result{logProbability(logits[token]), {}, {}};
  if (top == 0) return result;
  Candidates candidates;
  candidates.assign(logits, vocabSize);
  candidates.keepLikeliest(top);
  for (const Candidate& each : candidates.list()) {
    result.topTokens.push_back(each.token);
    result.topLogprobs.push_back(logProbability(each.logit));
  }
  // Tokens of the probability 0 are no candidates.
  for (uint32_t other = 0; result.topTokens.size() < top; ++other) {
    if (logits[other] > -std::numeric_limits<float>::infinity()) continue;
    result.topTokens.push_back(other);
    result.topLogprobs.push_back(-std::numeric_limits<float>::infinity());
  }
  return result;
}

}  // namespace gpt2
