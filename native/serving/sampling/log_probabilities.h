#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpt2 {

// The log-probability of a token in nats, and the likeliest tokens with theirs, in order.
struct LogProbabilities {
  float token;
  std::vector<uint32_t> topTokens;
  std::vector<float> topLogprobs;
};

// By the softmax of logits, [vocabSize], of which −∞ has the probability 0. top: number of the
// likeliest tokens, at most vocabSize.
LogProbabilities logProbabilities(const float* logits, size_t vocabSize, uint32_t token,
                                  size_t top);

}  // namespace gpt2
