#include "serving/request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

Request::Request(const Model& model, std::shared_ptr<Session> session, int64_t keep,
                 std::vector<uint32_t> tokens)
    : model_(model), session_(std::move(session)), keep_(keep), tokens_(std::move(tokens)) {}

size_t Request::vocabSize() const noexcept {
  return static_cast<size_t>(model_.weights().hyperparameters().vocabSize);
}

void Request::begin() {
  if (keep_ < 0 || keep_ > session_->length()) {
    if (session_->hasLostTokens()) {
      throw Error(code::kOutOfMemory,
                  "there was no memory to copy the session's tokens when it was forked");
    }
    throw Error(code::kInternal, "Expected a session of at least " + std::to_string(keep_) +
                                     " tokens but it has " + std::to_string(session_->length()));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i] >= vocabSize()) {
      throw Error(code::kTokenOutOfRange,
                  "Expected token ids below " + std::to_string(vocabSize()) + " but received " +
                      std::to_string(tokens_[i]) + " at index " + std::to_string(i));
    }
  }
  const int64_t length = keep_ + tokenCount();
  if (length > model_.contextLength()) {
    throw Error(code::kContextOverflow,
                "Expected at most " + std::to_string(model_.contextLength()) +
                    " tokens, the context length, but received " + std::to_string(tokenCount()) +
                    (keep_ == 0 ? "" : " after " + std::to_string(keep_)));
  }
  session_->rewind(keep_);
  session_->append(tokens_);
  session_->cache().reserve(length, session_->evaluated());
}

BatchEntry Request::nextEntry(int64_t maxTokens) const {
  const int64_t start = session_->evaluated();
  BatchEntry entry{session_.get(), std::min(pending(), maxTokens), {}};
  const std::vector<int64_t>& positions = outputPositions();
  for (auto position = std::lower_bound(positions.begin(), positions.end(), start);
       position != positions.end() && *position < start + entry.count; ++position) {
    entry.outputRows.push_back(*position - start);
  }
  return entry;
}

void Request::receiveLogits(int64_t position, const float* logits) noexcept {
  if (failure_) return;
  try {
    onLogits(position, logits);
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void evaluate(Model& model, const std::vector<Request*>& requests, const CancelFlag* cancelled) {
  std::vector<BatchEntry> batch;
  std::vector<int64_t> starts;
  int64_t room = ForwardPass::kMaxBatchTokens;
  for (const Request* request : requests) {
    if (room == 0) break;
    batch.push_back(request->nextEntry(room));
    starts.push_back(request->session().evaluated());
    room -= batch.back().count;
  }
  const auto onLogits = [&](size_t entry, size_t output, const float* logits) {
    requests[entry]->receiveLogits(starts[entry] + batch[entry].outputRows[output], logits);
  };
  model.evaluate(batch, onLogits, cancelled);
}

}  // namespace gpt2
