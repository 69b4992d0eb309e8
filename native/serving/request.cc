#include "serving/request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

Request::Request(Model& model, std::shared_ptr<Session> session, int64_t keep,
                 std::vector<uint32_t> tokens)
    : model_(model), session_(std::move(session)), keep_(keep), tokens_(std::move(tokens)) {}

size_t Request::vocabSize() const noexcept {
  return static_cast<size_t>(model_.weights().hyperparameters().vocabSize);
}

void Request::checkTokenIds(const std::vector<uint32_t>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= vocabSize()) {
      throw Error(code::kTokenOutOfRange,
                  "Expected token ids below " + std::to_string(vocabSize()) + " but received " +
                      std::to_string(tokens[i]) + " at index " + std::to_string(i));
    }
  }
}

void Request::begin() {
  checkTokenIds(tokens_);
  const int64_t length = keep_ + tokenCount();
  if (length > model_.contextLength()) {
    throw Error(code::kContextOverflow,
                "Expected at most " + std::to_string(model_.contextLength()) +
                    " tokens, the context length, but received " + std::to_string(tokenCount()) +
                    (keep_ == 0 ? "" : " after " + std::to_string(keep_)));
  }
  session_->replaceEnd(keep_, tokens_);
}

namespace {

// The end of the blocks before `position`.
int64_t blockBoundary(int64_t position) { return position - position % KvBlock::kPositions; }

}  // namespace

// At an output position the token itself has to be evaluated, and at least one token is left.
int64_t Request::adoptableEnd() const noexcept {
  const std::vector<int64_t>& positions = outputPositions();
  const size_t next = nextOutput();
  return blockBoundary(next == positions.size() ? session_->length() - 1 : positions[next]);
}

size_t Request::nextOutput() const noexcept {
  const std::vector<int64_t>& positions = outputPositions();
  const auto next = std::lower_bound(positions.begin(), positions.end(), session_->evaluated());
  return static_cast<size_t>(next - positions.begin());
}

void Request::adoptPrefix() noexcept {
  model_.cacheMemory().adoptPrefix(*session_, adoptableEnd());
}

bool Request::sharesNextBlockWith(const Request& other) const noexcept {
  const int64_t block = blockBoundary(session_->evaluated());
  const int64_t end = block + KvBlock::kPositions;
  if (!model_.cacheMemory().sharesPrefixes()) return false;
  if (end > adoptableEnd() || block != blockBoundary(other.session_->evaluated())) return false;
  const auto& tokens = session_->tokens();
  const auto& others = other.session_->tokens();
  return other.session_->length() >= end &&
         std::equal(tokens.begin(), tokens.begin() + end, others.begin());
}

BatchEntry Request::nextEntry(int64_t maxTokens) {
  const int64_t start = session_->evaluated();
  BatchEntry entry{session_.get(), std::min(pending(), maxTokens), {}, output(), layers()};
  const std::vector<int64_t>& positions = outputPositions();
  for (size_t i = nextOutput(); i < positions.size() && positions[i] < start + entry.count; ++i) {
    entry.outputRows.push_back(positions[i] - start);
  }
  model_.cacheMemory().prepare(*session_, entry.count);
  return entry;
}

void Request::receive(size_t index, const float* row) noexcept {
  try {
    onOutput(index, row);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(receiving_);
    failure_ = std::current_exception();
  }
}

void Request::passed(int64_t count) noexcept {
  evaluatedTokens_ += count;
  if (failure_) return;
  try {
    onPassed();
  } catch (...) {
    failure_ = std::current_exception();
  }
}

void evaluate(Model& model, const std::vector<Request*>& requests, const CancelFlag* cancelled) {
  struct Part {
    Request* request;
    size_t firstOutput;  // of the request's output positions
    int64_t end;         // of the session's tokens in this pass
  };
  std::vector<BatchEntry> batch;
  std::vector<Part> parts;
  batch.reserve(requests.size());
  parts.reserve(requests.size());
  int64_t room = ForwardPass::kMaxBatchTokens;
  for (Request* request : requests) {
    if (room == 0) break;
    try {
      const size_t firstOutput = request->nextOutput();
      batch.push_back(request->nextEntry(room));
      parts.push_back({request, firstOutput, request->session().evaluated() + batch.back().count});
    } catch (...) {
      request->fail(std::current_exception());
      continue;
    }
    room -= batch.back().count;
  }
  if (batch.empty()) return;
  const auto sink = [&](const Output& output) {
    const Part& part = parts[output.entry];
    part.request->receive(part.firstOutput + output.index, output.row);
  };
  // A pass that fails may have been done for some entries.
  const auto endPass = [&] {
    for (size_t i = 0; i < batch.size(); ++i) {
      Request& request = *parts[i].request;
      if (request.session().evaluated() == parts[i].end) request.passed(batch[i].count);
    }
  };
  try {
    model.evaluate(batch, sink, cancelled);
  } catch (...) {
    endPass();
    throw;
  }
  endPass();
}

}  // namespace gpt2
