#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// How a model's distribution of the next token regards the token that came. In nats.
struct TokenScore {
  float logprob;
  uint32_t rank;   // the number of likelier tokens; of equally likely ones, those with lower ids
  float entropy;   // −Σ p ln p, the mean of the surprisal
  float variance;  // of ln p under p
};

// logits: [vocabSize], finite. Takes one pass for the largest, one for the sums and one for the
// rank.
TokenScore scoreOf(const float* logits, size_t vocabSize, uint32_t token);

// How a model's distribution regards the tokens of another's. In nats.
struct CrossScore {
  float crossEntropy;  // −Σ p ln q, the mean surprisal of q under p
  float variance;      // of ln q under p
};

// probabilities: p, logits: of q. Both [vocabSize], finite.
CrossScore crossScoreOf(const float* probabilities, const float* logits, size_t vocabSize);

}  // namespace gpt2
