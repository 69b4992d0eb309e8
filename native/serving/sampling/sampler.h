#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpt2 {

struct SamplingOptions {
  double temperature = 1;  // 0: greedy
  int64_t topK = 0;        // sample from the k likeliest tokens; 0: from all
  double topP = 1;         // from the smallest set whose probabilities sum to p; 1: from all
  uint64_t seed = 0;
};

// Samples tokens from logits. The same seed and the same logits give the same tokens.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // logits: [vocabulary]. Throws NOT_FINITE if one is infinite or NaN.
  uint32_t sample(const float* logits, size_t vocabSize);

 private:
  struct Candidate {
    float logit;
    uint32_t token;
  };
  double nextUniform();  // in [0, 1)
  void orderLikeliest(size_t count);
  size_t countForTopP(double total);
  void choose(const float* logits);
  size_t draw(const std::vector<float>& weights);

  SamplingOptions options_;
  uint64_t state_;
  std::vector<float> weights_;  // the probability of each token
  std::vector<Candidate> candidates_;
  std::vector<float> chosen_;  // the probabilities of the candidates
  std::vector<double> blockSums_;
};

}  // namespace gpt2
