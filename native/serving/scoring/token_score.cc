#include "serving/scoring/token_score.h"

#include <algorithm>
#include <cmath>

#include "kernels/row_functions.h"

namespace gpt2 {

// With d = l − max, Z = Σ e^d and the mean m = Σ d e^d / Z under p: ln p = d − ln Z, so its mean is
// m − ln Z = −H, and its variance Σ d² e^d / Z − m².
TokenScore scoreOf(const float* logits, size_t vocabSize, uint32_t token) {
  const auto count = static_cast<int64_t>(vocabSize);
  const float top = largest(logits, count);
  const ExpSums sums = expSums(logits, top, count);
  const double mean = sums.first / sums.sum;
  const double logSum = std::log(sums.sum);
  const float own = logits[token];
  const auto after = static_cast<int64_t>(token) + 1;
  const int64_t rank =
      countAtLeast(logits, own, token) + countAbove(logits + after, own, count - after);
  return {static_cast<float>(static_cast<double>(own) - static_cast<double>(top) - logSum),
          static_cast<uint32_t>(rank), static_cast<float>(logSum - mean),
          static_cast<float>(std::max(sums.second / sums.sum - mean * mean, 0.0))};
}

CrossScore crossScoreOf(const float* probabilities, const float* logits, size_t vocabSize) {
  const auto count = static_cast<int64_t>(vocabSize);
  const float top = largest(logits, count);
  const double logSum = std::log(expSums(logits, top, count).sum);
  // p sums to 1 only to the rounding of f32.
  double sum = 0;
  double first = 0;
  double second = 0;
  for (size_t i = 0; i < vocabSize; ++i) {
    const auto p = static_cast<double>(probabilities[i]);
    const double d = static_cast<double>(logits[i]) - static_cast<double>(top);
    sum += p;
    first += p * d;
    second += p * d * d;
  }
  const double mean = first / sum;
  return {static_cast<float>(logSum - mean),
          static_cast<float>(std::max(second / sum - mean * mean, 0.0))};
}

}  // namespace gpt2
