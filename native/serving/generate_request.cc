#include "serving/generate_request.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace gpt2 {

namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

GenerateRequest::GenerateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                                 std::vector<uint32_t> prompt, const GenerateOptions& options,
                                 OnToken onToken)
    : Request(model, std::move(session), keep, std::move(prompt)),
      options_(options),
      onToken_(std::move(onToken)),
      sampler_(options.sampling) {}

void GenerateRequest::begin() {
  start_ = Clock::now();
  Request::begin();
  if (session().length() == 0) throw Error(code::kInvalidArgument, "Expected at least one token");
  // The cache does not hold the last token's hidden state, so that token is evaluated again.
  session().cache().truncate(session().length() - 1);
  generation_.promptTokens = session().length();
  requestNext();
  generation_.totalMilliseconds = millisecondsSince(start_);
}

// The last token drawn is not evaluated.
int64_t GenerateRequest::lastLength() const noexcept {
  const int64_t drawn = std::min(options_.maxTokens, model().contextLength());
  return std::clamp(generation_.promptTokens + drawn - 1, session().length(),
                    model().contextLength());
}

void GenerateRequest::onOutputs(size_t /*first*/, size_t /*count*/, const float* rows) {
  const bool isFirst = generation_.completionTokens == 0;
  if (isFirst) generation_.promptMilliseconds = millisecondsSince(start_);
  sampled_ = sampler_.sample(rows, vocabSize());
  if (isFirst) generation_.firstTokenMilliseconds = millisecondsSince(start_);
}

void GenerateRequest::onPassed() {
  if (!sampled_) return;
  const uint32_t token = *std::exchange(sampled_, std::nullopt);
  if (generation_.completionTokens == 0) {
    generation_.cachedTokens = generation_.promptTokens - evaluatedTokens();
  }
  if (model().endOfText().count(token) != 0) {
    generation_.finishReason = FinishReason::kEndOfText;
    isFinished_ = true;
  } else {
    session().append(token);
    ++generation_.completionTokens;
    onToken_(token);
    requestNext();
  }
  generation_.totalMilliseconds = millisecondsSince(start_);
}

void GenerateRequest::requestNext() {
  outputPositions_.assign(1, session().length() - 1);
  isFinished_ = generation_.completionTokens >= options_.maxTokens ||
                session().length() >= model().contextLength();
}

}  // namespace gpt2
