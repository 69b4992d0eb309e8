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

// Runs the requests on one model concurrently, pass by pass. A pass either decodes or prefills; the
// two kinds take turns. A decode pass evaluates the pending tokens of the requests that are
// decoding. Requests that do not fit one pass take turns. A prefill pass evaluates part of the
// prompt of the first request with a long one. Between passes the worker runs other jobs.
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
  bool lastPassDecoded_ = false;
};

}  // namespace gpt2
