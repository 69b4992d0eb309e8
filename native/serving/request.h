#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/cancel_flag.h"
#include "model/model.h"
#include "model/session.h"

namespace gpt2 {

// The host's answer to a request that waits for it.
struct HostReply {
  bool stops = false;
  std::vector<float> logits;  // [vocabSize], if the host changes them
};

// A call on a session, carried out pass by pass: each pass evaluates some of the session's tokens,
// and the request receives the outputs at its output positions. Requests on different sessions
// share passes.
//
// Belongs to the worker thread once it is submitted.
class Request {
 public:
  // Keeps the session's first `keep` tokens and appends `tokens`.
  Request(Model& model, std::shared_ptr<Session> session, int64_t keep,
          std::vector<uint32_t> tokens);
  virtual ~Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  Session& session() const noexcept { return *session_; }

  // Prepares the session for the first pass. Throws TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW,
  // INVALID_ARGUMENT or OUT_OF_MEMORY.
  virtual void begin();
  // Whether no tokens are left to evaluate.
  virtual bool isFinished() const = 0;
  // Whether a reply of the host is awaited. Other requests go on meanwhile.
  virtual bool isWaiting() const { return false; }
  // Receives the reply. An error fails the request.
  virtual void resume(HostReply&& /*reply*/) {}
  // The error that ended the request early, or null.
  const std::exception_ptr& failure() const noexcept { return failure_; }
  void fail(std::exception_ptr failure) noexcept { failure_ = std::move(failure); }

  // Tokens of the session that are still to be evaluated.
  int64_t pending() const noexcept { return session_->length() - session_->evaluated(); }
  // The blocks that the cache will still take if the request goes on to its end.
  int64_t missingBlocks() const noexcept {
    return session_->cache().missingBlocks(lastLength() - session_->evaluated());
  }
  // Takes the keys and values of pending tokens from other sequences with the same beginning.
  void adoptPrefix() noexcept;
  // Whether both would evaluate the same block next, which the later one could then adopt.
  bool sharesNextBlockWith(const Request& other) const noexcept;
  // The next pending tokens, at most `maxTokens`, with the output positions among them. Prepares
  // the cache for them; throws OUT_OF_MEMORY.
  BatchEntry nextEntry(int64_t maxTokens);
  // The first of the output positions that has not been evaluated, as an index.
  size_t nextOutput() const noexcept;

  // Receives the output at outputPositions()[index], on a thread of the pool, beside other outputs
  // of this request and of others. An error fails this request and no other.
  void receive(size_t index, const float* row) noexcept;
  // Receives the end of a pass that evaluated `count` tokens of the session. An error fails this
  // request.
  void passed(int64_t count) noexcept;

 protected:
  // Positions in the session whose outputs are wanted, in rising order.
  virtual const std::vector<int64_t>& outputPositions() const = 0;
  // What is wanted; `layers` of the residual stream.
  virtual OutputKind output() const noexcept { return OutputKind::kLogits; }
  virtual int64_t layers() const noexcept { return 0; }
  // The number of tokens in the cache at the end, if nothing ends the request early.
  virtual int64_t lastLength() const noexcept { return session_->length(); }
  // row: [row length]. Several rows are received at the same time.
  virtual void onOutput(size_t index, const float* row) = 0;
  virtual void onPassed() {}
  // The number of tokens that this request has evaluated.
  int64_t evaluatedTokens() const noexcept { return evaluatedTokens_; }
  Model& model() const noexcept { return model_; }
  size_t vocabSize() const noexcept;
  // Throws TOKEN_OUT_OF_RANGE.
  void checkTokenIds(const std::vector<uint32_t>& tokens) const;
  int64_t tokenCount() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  int64_t keep() const noexcept { return keep_; }

 private:
  // The end of the pending tokens that may be adopted instead of evaluated.
  int64_t adoptableEnd() const noexcept;

  Model& model_;
  std::shared_ptr<Session> session_;
  int64_t keep_;
  std::vector<uint32_t> tokens_;
  int64_t evaluatedTokens_ = 0;
  std::mutex receiving_;  // guards failure_ while outputs are received
  std::exception_ptr failure_;
};

// Runs one pass over the next tokens of the requests, in their order, as many as fit the pass; the
// last requests may get none. A request without memory for its keys and values fails. Throws what
// Model::evaluate() throws; the pass can then be repeated.
void evaluate(Model& model, const std::vector<Request*>& requests, const CancelFlag* cancelled);

}  // namespace gpt2
