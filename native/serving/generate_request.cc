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

GenerateRequest::GenerateRequest(const Model& model, std::shared_ptr<Session> session, int64_t keep,
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
  session().markEvaluated(std::min(session().evaluated(), session().length() - 1));
  generation_.promptTokens = session().length();
  generation_.cachedTokens = session().evaluated();
  requestNext();
  generation_.totalMilliseconds = millisecondsSince(start_);
}

void GenerateRequest::onLogits(int64_t /*position*/, const float* logits) {
  const bool isFirst = generation_.completionTokens == 0;
  if (isFirst) generation_.promptMilliseconds = millisecondsSince(start_);
  const uint32_t token = sampler_.sample(logits, vocabSize());
  if (isFirst) generation_.firstTokenMilliseconds = millisecondsSince(start_);
  if (model().endOfText().count(token) != 0) {
    generation_.finishReason = FinishReason::kEndOfText;
    isFinished_ = true;
  } else {
    session().append(token);
    session().cache().reserve(session().length(), session().evaluated());
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
