#include "serving/generate_request.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

GenerateRequest::GenerateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                                 std::vector<uint32_t> prompt, GenerateOptions options,
                                 OnToken onToken, OnHostStep onHostStep)
    : Request(model, std::move(session), keep, std::move(prompt)),
      options_(std::move(options)),
      onToken_(std::move(onToken)),
      onHostStep_(std::move(onHostStep)),
      stopTokens_(options_.stopTokens.begin(), options_.stopTokens.end()),
      start_(Clock::now()) {}

void GenerateRequest::checkOptions() const {
  if (options_.topLogprobs && static_cast<size_t>(*options_.topLogprobs) > vocabSize()) {
    throw Error(code::kInvalidArgument, "Expected topLogprobs to be at most " +
                                            std::to_string(vocabSize()) +
                                            ", the number of tokens, but received " +
                                            std::to_string(*options_.topLogprobs));
  }
  for (const std::string& string : options_.stopStrings) {
    // The session has all tokens that may belong to one, also when it slides.
    if (static_cast<int64_t>(string.size()) < model().contextLength()) continue;
    throw Error(code::kInvalidArgument,
                "Expected stop strings of fewer bytes than the context has tokens, " +
                    std::to_string(model().contextLength()) + ", but received one of " +
                    std::to_string(string.size()));
  }
  for (const StageOptions& stage : options_.stages) {
    for (const auto& sequence : stage.sequences) checkTokenIds(sequence);
  }
}

void GenerateRequest::begin() {
  Request::begin();
  if (session().length() == 0) throw Error(code::kInvalidArgument, "Expected at least one token");
  checkOptions();
  const bool hasTexts = std::any_of(options_.stages.begin(), options_.stages.end(),
                                    [](const StageOptions& stage) { return !stage.texts.empty(); });
  StageContext context{options_.seed, {}, nullptr};
  if (!options_.ignoresEndOfText) context.endOfText = model().endOfText();
  if (hasTexts || !options_.stopStrings.empty()) context.trie = model().tokenTrie();
  sampler_.emplace(options_.stages, context);
  sampler_->acceptPrompt(session().tokens());
  if (!options_.stopStrings.empty()) stopStrings_.emplace(options_.stopStrings, context.trie);
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

void GenerateRequest::onOutput(size_t /*index*/, const float* row) {
  if (newTokens_ == 0) generation_.promptMilliseconds = millisecondsSince(start_);
  if (!areFinite(row, static_cast<int64_t>(vocabSize()))) {
    throw Error(
        code::kNotFinite,
        "the model's logits are not all finite numbers, so no token can be sampled from them");
  }
  if (options_.hostStep == HostStep::kNone) return sample(row, row);
  logits_ = std::make_shared<const std::vector<float>>(row, row + vocabSize());
}

void GenerateRequest::sample(const float* logits, const float* modelLogits) {
  const uint32_t token = sampler_->sample(logits, vocabSize());
  sampler_->accept(token);
  sampled_ = {token, {}};
  last_ = token;
  if (options_.topLogprobs) {
    std::vector<float> left;  // by the stages
    if (options_.logprobsAreOfSampler) {
      left.resize(vocabSize());
      sampler_->writeLogits(left.data());
      modelLogits = left.data();
    }
    sampled_->logprobs = logProbabilities(modelLogits, vocabSize(), token,
                                          static_cast<size_t>(*options_.topLogprobs));
  }
  if (newTokens_ == 0) generation_.firstTokenMilliseconds = millisecondsSince(start_);
}

void GenerateRequest::onPassed() {
  if (logits_) {
    isWaiting_ = true;
    onHostStep_(last_, options_.hostStep == HostStep::kChangesLogits ? logits_ : nullptr);
    return;
  }
  if (sampled_) append(*std::exchange(sampled_, std::nullopt));
  if (!isFinished_ && options_.timeBudgetMilliseconds &&
      millisecondsSince(start_) >= *options_.timeBudgetMilliseconds) {
    finish(FinishReason::kTime);
  }
}

void GenerateRequest::resume(HostReply&& reply) {
  if (!isWaiting_) return;
  isWaiting_ = false;
  const Logits own = std::exchange(logits_, nullptr);
  if (reply.stops) {
    session().rewind(session().length() - static_cast<int64_t>(held_.size()));
    held_.clear();
    return finish(FinishReason::kHost);
  }
  const bool changesLogits = options_.hostStep == HostStep::kChangesLogits;
  const std::vector<float>& logits = changesLogits ? reply.logits : *own;
  if (logits.size() != vocabSize()) {
    throw Error(code::kInternal, "a reply with " + std::to_string(logits.size()) + " logits");
  }
  sample(logits.data(), own->data());
  onPassed();
}

bool GenerateRequest::endsBefore(uint32_t token) {
  if (stopTokens_.count(token) != 0) {
    generation_.stopToken = token;
    finish(FinishReason::kStopToken);
  } else if (!options_.ignoresEndOfText && model().endOfText().count(token) != 0) {
    finish(FinishReason::kEndOfText);
  }
  return isFinished_;
}

void GenerateRequest::append(NewToken&& drawn) {
  if (newTokens_ == 0) generation_.cachedTokens = generation_.promptTokens - evaluatedTokens();
  const uint32_t token = drawn.token;
  if (endsBefore(token)) return;
  session().append(token);
  held_.push_back(std::move(drawn));
  ++newTokens_;
  if (stopStrings_) {
    if (stopStrings_->push(token, newTokens_ > options_.minTokens)) return cutAtStopString();
    release(stopStrings_->held());
  } else {
    release(0);
  }
  requestNext();
}

void GenerateRequest::release(size_t kept) {
  const auto end = held_.end() - static_cast<std::ptrdiff_t>(kept);
  for (auto each = held_.begin(); each != end; ++each) {
    ++generation_.completionTokens;
    onToken_(std::move(*each));
  }
  held_.erase(held_.begin(), end);
}

// The tokens from the one in which the string begins are replaced by tokens that spell the text
// before it, which may be more. The session makes room for them as it does when it slides.
void GenerateRequest::cutAtStopString() {
  const size_t cut = std::min(stopStrings_->foundTokens(), held_.size());
  release(cut);
  held_.clear();
  session().rewind(session().length() - static_cast<int64_t>(cut));
  for (const uint32_t token : stopStrings_->tokensBefore()) {
    session().append(token);
    NewToken spelled{token, {std::nanf(""), {}, {}}};
    if (options_.topLogprobs) {
      const auto count = static_cast<size_t>(*options_.topLogprobs);
      spelled.logprobs.topTokens.assign(count, token);
      spelled.logprobs.topLogprobs.assign(count, std::nanf(""));
    }
    held_.push_back(std::move(spelled));
  }
  if (session().length() > model().contextLength()) slide();
  generation_.stopString = stopStrings_->found();
  finish(FinishReason::kStopString);
}

void GenerateRequest::requestNext() {
  if (newTokens_ >= options_.maxTokens) return finish(FinishReason::kLength);
  if (session().length() >= model().contextLength()) {
    if (options_.overflow == Overflow::kStop) return finish(FinishReason::kLength);
    if (options_.overflow == Overflow::kError) {
      throw Error(code::kContextOverflow, "Expected a text of at most " +
                                              std::to_string(model().contextLength()) +
                                              " tokens, the context length, but it has more");
    }
    slide();
  }
  outputPositions_.assign(1, session().length() - 1);
}

// Positions are learned, so the keys of the remaining tokens are those of other positions. Tokens
// that are held back remain, since a stop string may cut them.
void GenerateRequest::slide() {
  const std::vector<uint32_t>& tokens = session().tokens();
  const int64_t half = std::max<int64_t>(model().contextLength() / 2, 1);
  const auto held = static_cast<int64_t>(held_.size());
  const int64_t kept = std::min(std::max(half, held), std::max<int64_t>(session().length() - 1, 1));
  if (held > kept) release(static_cast<size_t>(kept));  // tokens without bytes are no part of one
  generation_.droppedTokens += session().length() - kept;
  const std::vector<uint32_t> window(tokens.end() - static_cast<std::ptrdiff_t>(kept),
                                     tokens.end());
  session().rewind(0);
  session().append(window);
}

void GenerateRequest::finish(FinishReason reason) {
  release(0);
  generation_.finishReason = reason;
  generation_.totalMilliseconds = millisecondsSince(start_);
  isFinished_ = true;
}

}  // namespace gpt2
