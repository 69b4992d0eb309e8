#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "model/model.h"
#include "model/session.h"

namespace gpt2 {

// A call on a session that is carried out pass by pass: tokens are evaluated, and logits that
// follow some of them are heard. Requests on several sessions share passes.
//
// Belongs to the worker thread once it was made.
class Request {
 public:
  // Keeps the session's first `keep` tokens and appends `tokens`.
  Request(const Model& model, std::shared_ptr<Session> session, int64_t keep,
          std::vector<uint32_t> tokens);
  virtual ~Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  Session& session() const noexcept { return *session_; }

  // Brings the session to where the first pass begins. Throws TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW,
  // INVALID_ARGUMENT or OUT_OF_MEMORY.
  virtual void begin();
  // Whether there is nothing more to evaluate.
  virtual bool isFinished() const = 0;
  // Why it ends unfinished; null if it does not.
  const std::exception_ptr& failure() const noexcept { return failure_; }
  void fail(std::exception_ptr failure) noexcept { failure_ = std::move(failure); }

  // Positions in the session, in rising order; the logits that follow them are to be heard when
  // they are evaluated.
  virtual const std::vector<int64_t>& asked() const = 0;
  // logits: [vocabulary]. An error is this request's failure, and no other's.
  void tell(int64_t position, const float* logits) noexcept;

 protected:
  virtual void hear(int64_t position, const float* logits) = 0;
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

}  // namespace gpt2
