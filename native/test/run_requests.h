#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "serving/evaluate_request.h"
#include "serving/generate_request.h"

namespace gpt2::test {

// Runs a single request to its end, batch by batch.
inline void runToCompletion(Model& model, Request& request, const CancelFlag* cancelled = nullptr) {
  request.begin();
  while (!request.isFinished()) {
    evaluate(model, {&request}, cancelled);
    if (request.failure()) std::rethrow_exception(request.failure());
  }
}

inline std::shared_ptr<Session> unowned(Session& session) {
  return {std::shared_ptr<Session>(), &session};
}

// The logits at these positions: [positions, vocabulary].
inline std::vector<float> evaluate(Model& model, Session& session, int64_t keep,
                                   const std::vector<uint32_t>& tokens,
                                   const std::vector<int64_t>& positions,
                                   const CancelFlag* cancelled = nullptr) {
  const auto vocabSize = static_cast<size_t>(model.weights().hyperparameters().vocabSize);
  std::vector<float> logits(positions.size() * vocabSize);
  EvaluateRequest request(model, unowned(session), keep, tokens, positions, logits.data());
  runToCompletion(model, request, cancelled);
  return logits;
}

inline Generation generate(Model& model, Session& session, int64_t keep,
                           const std::vector<uint32_t>& prompt, const GenerateOptions& options,
                           GenerateRequest::OnToken onToken,
                           const CancelFlag* cancelled = nullptr) {
  GenerateRequest request(model, unowned(session), keep, prompt, options, std::move(onToken));
  runToCompletion(model, request, cancelled);
  return request.generation();
}

}  // namespace gpt2::test
