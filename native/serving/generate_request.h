#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "serving/request.h"
#include "serving/sampling/log_probabilities.h"
#include "serving/sampling/sampler.h"
#include "text/stop_strings.h"

namespace gpt2 {

// What to do when the context is full.
enum class Overflow {
  kStop,   // end, as after maxTokens
  kError,  // fail with CONTEXT_OVERFLOW
  kSlide,  // drop the first tokens, evaluate the last half of the context again, and go on
};

// What the host does before each token is sampled. The request waits for its reply meanwhile.
enum class HostStep {
  kNone,
  kConfirms,       // decides whether to go on
  kChangesLogits,  // changes the logits too
};

struct GenerateOptions {
  int64_t maxTokens = 0;
  int64_t minTokens = 0;  // before these, no stop string is looked for
  uint64_t seed = 0;
  std::vector<StageOptions> stages;  // in the order in which they are applied
  std::vector<std::string> stopStrings;
  std::vector<uint32_t> stopTokens;
  bool ignoresEndOfText = false;  // end-of-text tokens are appended as others are
  std::optional<double> timeBudgetMilliseconds;
  Overflow overflow = Overflow::kStop;
  std::optional<int64_t> topLogprobs;  // unset: no log-probabilities
  bool logprobsAreOfSampler = false;   // of the distribution after the stages, not the model's
  HostStep hostStep = HostStep::kNone;
};

enum class FinishReason { kLength, kEndOfText, kStopString, kStopToken, kTime, kHost };

struct Generation {
  FinishReason finishReason = FinishReason::kLength;
  std::string stopString;    // that was found
  uint32_t stopToken = 0;    // that was drawn
  int64_t promptTokens = 0;  // the session's length before the first new token
  int64_t cachedTokens = 0;  // prompt tokens that were in the cache
  int64_t completionTokens = 0;
  int64_t droppedTokens = 0;  // from the start of the session, by sliding
  // From begin() to:
  double promptMilliseconds = 0;      // the logits that follow the prompt
  double firstTokenMilliseconds = 0;  // the first new token
  double totalMilliseconds = 0;
};

// A token that was generated. Log-probabilities are NaN for tokens that spell the beginning of one
// which a stop string cut: they were not drawn.
struct NewToken {
  uint32_t token;
  LogProbabilities logprobs;
};

// Appends tokens (possibly none, if the session keeps some) to a session, then samples token by
// token.
class GenerateRequest final : public Request {
 public:
  // Receives the tokens in order. Those that may belong to a stop string are held back.
  using OnToken = std::function<void(NewToken&&)>;
  // Asks the host for a reply. lastToken: the one sampled last, if any. logits: [vocabSize]; null
  // unless the host changes them.
  using Logits = std::shared_ptr<const std::vector<float>>;
  using OnHostStep = std::function<void(std::optional<uint32_t> lastToken, Logits logits)>;
  GenerateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                  std::vector<uint32_t> prompt, GenerateOptions options, OnToken onToken,
                  OnHostStep onHostStep = {});

  void begin() override;
  bool isFinished() const override { return isFinished_; }
  bool isWaiting() const override { return isWaiting_; }
  // Stops, without the tokens held back, or samples from the host's logits.
  void resume(HostReply&& reply) override;
  const Generation& generation() const noexcept { return generation_; }

 private:
  const std::vector<int64_t>& outputPositions() const override { return outputPositions_; }
  int64_t lastLength() const noexcept override;
  // Samples a token, or keeps the logits for the host. Throws NOT_FINITE and INVALID_ARGUMENT.
  void onOutput(size_t index, const float* row) override;
  // Appends it. Throws OUT_OF_MEMORY and CONTEXT_OVERFLOW.
  void onPassed() override;

  void checkOptions() const;
  // modelLogits: those before the host changed them.
  void sample(const float* logits, const float* modelLogits);
  void append(NewToken&& drawn);
  bool endsBefore(uint32_t token);
  // Hands over the held tokens but the last `kept`.
  void release(size_t kept);
  void cutAtStopString();
  void requestNext();
  void slide();
  void finish(FinishReason reason);

  GenerateOptions options_;
  OnToken onToken_;
  OnHostStep onHostStep_;
  std::optional<Sampler> sampler_;
  std::optional<StopStrings> stopStrings_;
  std::unordered_set<uint32_t> stopTokens_;
  std::chrono::steady_clock::time_point start_;
  std::vector<int64_t> outputPositions_;  // the last token's
  Logits logits_;                         // that wait for the host
  std::optional<NewToken> sampled_;       // the next token, until the pass has ended
  std::optional<uint32_t> last_;          // the token sampled last
  std::vector<NewToken> held_;            // in the session and not yet handed over
  int64_t newTokens_ = 0;                 // held or handed over
  bool isWaiting_ = false;
  bool isFinished_ = false;
  Generation generation_;
};

}  // namespace gpt2
