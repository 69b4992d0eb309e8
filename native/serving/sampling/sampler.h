#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpt2 {

struct SamplingOptions {
  double temperature = 1;  // 0: always the likeliest token
  int64_t topK = 0;        // only the k likeliest; 0: all
  double topP = 1;         // only the fewest likeliest whose probabilities reach p; 1: all
  uint64_t seed = 0;
};

// Draws tokens from logits. Same seed and same logits: same tokens.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  // logits: [vocabulary]. Throws NOT_FINITE when they hold no distribution.
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
  std::vector<float> weights_;  // by token
  std::vector<Candidate> candidates_;
  std::vector<float> chosen_;  // the weights of the candidates
  std::vector<double> blockSums_;
};

}  // namespace gpt2
