#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "serving/sampling/candidates.h"
#include "serving/sampling/stage.h"

namespace gpt2 {

// Samples tokens from logits: a chain of stages, and a draw from what they leave. The same seed,
// the same prompt and the same logits give the same tokens.
class Sampler {
 public:
  // stages: in the order in which they are applied.
  Sampler(const std::vector<StageOptions>& stages, const StageContext& context);

  // Receives the prompt, before the first sample.
  void acceptPrompt(const std::vector<uint32_t>& tokens);
  // The next token. logits: [vocabSize], of which −∞ rules tokens out. Throws NOT_FINITE for NaN
  // and +∞, and INVALID_ARGUMENT if no token is left.
  uint32_t sample(const float* logits, size_t vocabSize);
  // Receives the token that goes on, sampled or not.
  void accept(uint32_t token);

  // The logits after the last sample's stages, −∞ for tokens that were removed. out: [vocabSize]
  void writeLogits(float* out) const { candidates_.writeLogits(out); }

  // Forgets the text, so that the next one is sampled as by a new sampler.
  void reset();
  // An independent sampler that goes on from here.
  std::unique_ptr<Sampler> clone() const;

 private:
  explicit Sampler(uint64_t seed) : seed_(seed), state_(seed) {}
  double nextUniform();  // in [0, 1)

  uint64_t seed_;
  uint64_t state_;
  std::vector<std::unique_ptr<Stage>> stages_;
  Candidates candidates_;
};

}  // namespace gpt2
