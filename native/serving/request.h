#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "base/cancel_flag.h"
#include "model/model.h"
#include "model/session.h"

namespace gpt2 {

// A call on a session, carried out pass by pass: each pass evaluates some of the session's tokens,
// and the request receives the logits at its output positions. Requests on different sessions share
// passes.
//
// Belongs to the worker thread once it is submitted.
class Request {
 public:
  // Keeps the session's first `keep` tokens and appends `tokens`.
  Request(const Model& model, std::shared_ptr<Session> session, int64_t keep,
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
  // The error that ended the request early, or null.
  const std::exception_ptr& failure() const noexcept { return failure_; }
  void fail(std::exception_ptr failure) noexcept { failure_ = std::move(failure); }

  // Tokens of the session that are still to be evaluated.
  int64_t pending() const noexcept { return session_->length() - session_->evaluated(); }
  // The next pending tokens, at most `maxTokens`, with the output positions among them.
  BatchEntry nextEntry(int64_t maxTokens) const;
  // Receives the logits, [vocabulary], that follow the token at `position` of the session. An error
  // fails this request and no other.
  void receiveLogits(int64_t position, const float* logits) noexcept;

 protected:
  // Positions in the session whose logits are wanted, in rising order.
  virtual const std::vector<int64_t>& outputPositions() const = 0;
  virtual void onLogits(int64_t position, const float* logits) = 0;
  const Model& model() const noexcept { return model_; }
  size_t vocabSize() const noexcept;
  int64_t tokenCount() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  int64_t keep() const noexcept { return keep_; }

 private:
  const Model& model_;
  std::shared_ptr<Session> session_;
  int64_t keep_;
  std::vector<uint32_t> tokens_;
  std::exception_ptr failure_;
};

// Runs one pass over the next tokens of the requests, in their order, as many as fit the pass; the
// last requests may get none. Throws what Model::evaluate() throws; the pass can then be repeated.
void evaluate(Model& model, const std::vector<Request*>& requests, const CancelFlag* cancelled);

}  // namespace gpt2
