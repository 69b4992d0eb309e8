#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "serving/request.h"

namespace gpt2 {

// Scores of tokens, by column; [tokens], or [tokens, top].
struct Scores {
  std::vector<float> logprobs;
  std::vector<uint32_t> ranks;
  std::vector<float> entropies;
  std::vector<float> variances;
  std::vector<uint32_t> topTokens;  // the likeliest, in order
  std::vector<float> topLogprobs;
};

// Of another model's distributions p, and of this model's q against them; [tokens].
struct CrossScores {
  std::vector<float> logprobs;   // ln p(token)
  std::vector<float> entropies;  // −Σ p ln p
  std::vector<float> crossEntropies;
  std::vector<float> crossVariances;
};

// Appends tokens (at least one) to a session, and scores tokens that follow some of them. The
// logits are reduced where they are computed; they are never all in memory.
class ScoreRequest final : public Request {
 public:
  // targets: the tokens to score. The first follows `tokens` at index `first`, each of the others
  // the next. top: the number of likeliest tokens to return for each. others: another model's
  // logits for the targets, [targets, vocabulary], or null; they become probabilities. The memory
  // must stay valid until the request has ended.
  ScoreRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
               std::vector<uint32_t> tokens, int64_t first, std::vector<uint32_t> targets,
               int64_t top, float* others);

  void begin() override;
  bool isFinished() const override { return session().evaluated() == session().length(); }
  Scores& scores() noexcept { return scores_; }
  // Empty without another model's logits.
  CrossScores& crossScores() noexcept { return crossScores_; }

 private:
  const std::vector<int64_t>& outputPositions() const override { return outputPositions_; }
  void onOutput(size_t index, const float* row) override;
  void checkFinite(const float* row, const char* whose) const;
  void scoreOther(size_t index, const float* row);

  int64_t first_;
  std::vector<uint32_t> targets_;
  int64_t top_;
  std::vector<int64_t> outputPositions_;
  float* others_;
  Scores scores_;
  CrossScores crossScores_;
};

}  // namespace gpt2
