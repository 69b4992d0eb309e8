#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device.h"
#include "forward_pass.h"
#include "sampler.h"
#include "session.h"
#include "weights.h"

namespace gpt2 {

struct ModelOptions {
  std::string device = "auto";
  int threads = 0;                     // 0: physicalCpuCount()
  int64_t contextLength = 0;           // 0: the model's own
  std::optional<ggml_type> cacheType;  // f32 or f16; unset: f32 for f32 weights, else f16
  bool map = true;
  OperatorSet operators = OperatorSet::kFused;  // on the CPU; kStock, for tests, has one thread
};

struct GenerateOptions {
  int64_t maxTokens = 0;
  SamplingOptions sampling;
};

enum class FinishReason { kLength, kEndOfText };

struct Generation {
  FinishReason finishReason = FinishReason::kLength;
  int64_t promptTokens = 0;  // the session's length before the first new token
  int64_t cachedTokens = 0;  // those of them that needed no evaluating
  int64_t completionTokens = 0;
  double promptMilliseconds = 0;      // evaluating the prompt
  double firstTokenMilliseconds = 0;  // until the first token was drawn
  double totalMilliseconds = 0;
};

// A model in memory, ready to compute. Belongs to one thread at a time: the engine's.
class Model {
 public:
  // Throws what Device, GgufFile and Weights throw, and ABORTED.
  Model(const std::string& path, const ModelOptions& options,
        const CancelFlag* cancelled = nullptr);

  const Weights& weights() const noexcept { return weights_; }
  const Device& device() const noexcept { return device_; }
  int64_t contextLength() const noexcept { return contextLength_; }
  ggml_type cacheType() const noexcept { return cacheType_; }
  // The id that ends a text, if the file names one that is in the vocabulary.
  std::optional<uint32_t> endOfText() const noexcept { return endOfText_; }
  size_t anonymousBytes() const noexcept;

  std::unique_ptr<Session> createSession();

  // Keeps the session's first `keep` tokens, appends `tokens` (at least one) and evaluates.
  // positions: whole numbers in [0, tokens.size()); out: [vocabulary, positions.size()], the logits
  // of the distribution that follows each of these tokens. Throws TOKEN_OUT_OF_RANGE,
  // CONTEXT_OVERFLOW, INVALID_ARGUMENT, OUT_OF_MEMORY or ABORTED.
  void evaluate(Session& session, int64_t keep, const std::vector<uint32_t>& tokens,
                const std::vector<int64_t>& positions, float* out, const CancelFlag* cancelled);

  // Keeps the session's first `keep` tokens, appends `prompt` (possibly none, if something is
  // kept), then draws token by token; `onToken` hears each.
  Generation generate(Session& session, int64_t keep, const std::vector<uint32_t>& prompt,
                      const GenerateOptions& options, const std::function<void(uint32_t)>& onToken,
                      const CancelFlag* cancelled);

 private:
  void append(Session& session, int64_t keep, const std::vector<uint32_t>& tokens);
  // Hears the hidden states of the next `count` of the positions asked for, [width, count].
  using OnHidden = std::function<void(int64_t count, const float*)>;
  // positions: in the session, in rising order; of those that were evaluated before, nothing is
  // heard.
  void evaluatePending(Session& session, const std::vector<int64_t>& positions,
                       const OnHidden& onHidden, const CancelFlag* cancelled);

  Device device_;
  Weights weights_;
  int64_t contextLength_;
  ggml_type cacheType_;
  std::optional<uint32_t> endOfText_;
  ForwardPass forwardPass_;
};

}  // namespace gpt2
