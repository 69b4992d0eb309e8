#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "serving/request.h"
#include "serving/sampling/sampler.h"

namespace gpt2 {

struct GenerateOptions {
  int64_t maxTokens = 0;
  SamplingOptions sampling;
};

enum class FinishReason { kLength, kEndOfText };

struct Generation {
  FinishReason finishReason = FinishReason::kLength;
  int64_t promptTokens = 0;  // the session's length before the first new token
  int64_t cachedTokens = 0;  // prompt tokens that were in the cache
  int64_t completionTokens = 0;
  // From begin() to:
  double promptMilliseconds = 0;      // the logits that follow the prompt
  double firstTokenMilliseconds = 0;  // the first new token
  double totalMilliseconds = 0;
};

// Appends tokens (possibly none, if the session keeps some) to a session, then samples token by
// token.
class GenerateRequest final : public Request {
 public:
  using OnToken = std::function<void(uint32_t)>;
  GenerateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                  std::vector<uint32_t> prompt, const GenerateOptions& options, OnToken onToken);

  void begin() override;
  bool isFinished() const override { return isFinished_; }
  const Generation& generation() const noexcept { return generation_; }

 private:
  const std::vector<int64_t>& outputPositions() const override { return outputPositions_; }
  int64_t lastLength() const noexcept override;
  // Samples a token. Throws NOT_FINITE.
  void onOutputs(size_t first, size_t count, const float* rows) override;
  // Appends it. Throws OUT_OF_MEMORY.
  void onPassed() override;
  void requestNext();

  GenerateOptions options_;
  OnToken onToken_;
  Sampler sampler_;
  std::chrono::steady_clock::time_point start_;
  std::vector<int64_t> outputPositions_;  // the last token's
  std::optional<uint32_t> sampled_;       // the next token, until the pass has ended
  bool isFinished_ = false;
  Generation generation_;
};

}  // namespace gpt2
