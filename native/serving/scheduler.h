#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "model/model.h"
#include "serving/request.h"
#include "serving/worker_thread.h"

namespace gpt2 {

// Runs the requests on one model concurrently, pass by pass. A pass takes the next tokens of all
// requests that are decoding, that is, have few pending tokens, and then of the prompts, in the
// order of their submission, up to ForwardPass::kMaxBatchTokens. Between passes the worker runs
// other jobs.
//
// No request starves. If prompts wait, kPrefillTokens of each pass are theirs, so a prompt waits
// for at most as many passes as the prompts before it have times kPrefillTokens. Of more decoding
// requests than a pass has room for, those that were left out come first in the next pass.
class Scheduler {
 public:
  Scheduler(std::shared_ptr<Model> model, WorkerThread& worker);

  Model& model() const noexcept { return *model_; }

  // Receives a request that has ended, on the worker thread. request.failure() is set if it failed.
  using OnEnd = std::function<void(Request&)>;
  // From any thread; at most one request at a time for a session. Throws DISPOSED when the worker
  // accepts no more jobs, and std::bad_alloc. The scheduler must outlive the worker's last job.
  void submit(std::shared_ptr<CancelFlag> cancelled, std::shared_ptr<Request> request, OnEnd onEnd);

 private:
  // Up to this number of pending tokens, a request is decoding.
  static constexpr int64_t kMaxDecodeTokens = 8;
  static constexpr int64_t kPrefillTokens = 64;

  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    std::shared_ptr<Request> request;
    OnEnd onEnd;
  };

  // All on the worker thread.
  void begin(const Entry& entry);
  void postPass();
  void pass(const CancelFlag& cancelled);
  std::vector<Request*> nextPass();
  // Fails these requests, or all if there are none, with the exception being handled.
  void failAll(const std::vector<Request*>& requests) noexcept;
  // Fails the requests whose flag is set.
  void failCancelled();
  // Removes the requests that are finished or have failed.
  void endDone();

  std::shared_ptr<Model> model_;
  WorkerThread& worker_;
  std::deque<Entry> entries_;  // in the order of submission
  bool passIsPosted_ = false;
  const Request* firstDecoding_ = nullptr;  // that the last pass had no room for; for comparison
};

}  // namespace gpt2
