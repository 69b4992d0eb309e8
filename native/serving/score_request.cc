#include "serving/score_request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernels/row_functions.h"
#include "serving/sampling/log_probabilities.h"
#include "serving/scoring/token_score.h"

namespace gpt2 {

ScoreRequest::ScoreRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                           std::vector<uint32_t> tokens, int64_t first,
                           std::vector<uint32_t> targets, int64_t top, float* others)
    : Request(model, std::move(session), keep, std::move(tokens)),
      first_(first),
      targets_(std::move(targets)),
      top_(top),
      others_(others) {}

void ScoreRequest::begin() {
  const auto count = static_cast<int64_t>(targets_.size());
  if (tokenCount() == 0 || first_ < 0 || count > tokenCount() - first_) {
    throw Error(code::kInternal, "Expected targets after tokens of the request");
  }
  if (top_ < 0 || static_cast<size_t>(top_) > vocabSize()) {
    throw Error(code::kInvalidArgument,
                "Expected topK to be at most " + std::to_string(vocabSize()) +
                    ", the number of tokens, but received " + std::to_string(top_));
  }
  checkTokenIds(targets_);
  Request::begin();
  for (int64_t i = 0; i < count; ++i) outputPositions_.push_back(keep() + first_ + i);
  const size_t tops = targets_.size() * static_cast<size_t>(top_);
  scores_.logprobs.resize(targets_.size());
  scores_.ranks.resize(targets_.size());
  scores_.entropies.resize(targets_.size());
  scores_.variances.resize(targets_.size());
  scores_.topTokens.resize(tops);
  scores_.topLogprobs.resize(tops);
  if (others_ == nullptr) return;
  crossScores_.logprobs.resize(targets_.size());
  crossScores_.entropies.resize(targets_.size());
  crossScores_.crossEntropies.resize(targets_.size());
  crossScores_.crossVariances.resize(targets_.size());
}

void ScoreRequest::onOutput(size_t index, const float* row) {
  checkFinite(row, "the model's");
  if (others_ != nullptr) scoreOther(index, row);
  const TokenScore score = scoreOf(row, vocabSize(), targets_[index]);
  scores_.logprobs[index] = score.logprob;
  scores_.ranks[index] = score.rank;
  scores_.entropies[index] = score.entropy;
  scores_.variances[index] = score.variance;
  if (top_ == 0) return;
  const auto top = static_cast<size_t>(top_);
  const LogProbabilities likeliest = logProbabilities(row, vocabSize(), targets_[index], top);
  std::copy(likeliest.topTokens.begin(), likeliest.topTokens.end(),
            &scores_.topTokens[index * top]);
  std::copy(likeliest.topLogprobs.begin(), likeliest.topLogprobs.end(),
            &scores_.topLogprobs[index * top]);
}

void ScoreRequest::checkFinite(const float* row, const char* whose) const {
  if (areFinite(row, static_cast<int64_t>(vocabSize()))) return;
  throw Error(code::kNotFinite,
              std::string(whose) + " logits are not all finite numbers, so no token can be scored");
}

void ScoreRequest::scoreOther(size_t index, const float* row) {
  float* other = &others_[index * vocabSize()];
  checkFinite(other, "the other model's");
  const TokenScore score = scoreOf(other, vocabSize(), targets_[index]);
  crossScores_.logprobs[index] = score.logprob;
  crossScores_.entropies[index] = score.entropy;
  softmax(other, 1, static_cast<int64_t>(vocabSize()));
  const CrossScore cross = crossScoreOf(other, row, vocabSize());
  crossScores_.crossEntropies[index] = cross.crossEntropy;
  crossScores_.crossVariances[index] = cross.variance;
}

}  // namespace gpt2
