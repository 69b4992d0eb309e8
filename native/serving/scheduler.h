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

// Carries out the requests on one model, all that are there at the same time: a pass evaluates the
// few tokens that each has to go on with (as many as fit a slice, in turns), or a slice of the
// first one that has many. Between two passes the worker does the jobs that have come meanwhile.
class Scheduler {
 public:
  Scheduler(std::shared_ptr<Model> model, WorkerThread& worker);

  Model& model() const noexcept { return *model_; }

  // Hears, on the worker thread, that a request has ended: request.failure() says how.
  using OnEnd = std::function<void(Request&)>;
  // From any thread; one request at a time for a session. Throws DISPOSED when the worker takes no
  // more. The scheduler must be there until the worker has ended.
  void submit(std::shared_ptr<CancelFlag> cancelled, std::shared_ptr<Request> request, OnEnd onEnd);

 private:
  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    std::shared_ptr<Request> request;
    OnEnd onEnd;
  };

  // All of these on the worker thread.
  void begin(const Entry& entry);
  void postPass();
  void pass(const CancelFlag& cancelled);
  std::vector<Request*> nextPass();
  // With the exception at hand: these requests, or if there are none, all.
  void failAll(const std::vector<Request*>& requests) noexcept;
  // Those that are finished or have failed.
  void endDone();
  void failAborted();

  std::shared_ptr<Model> model_;
  WorkerThread& worker_;
  std::deque<Entry> entries_;  // in the order they came
  bool passIsPosted_ = false;
  bool lastWasFew_ = false;
};

}  // namespace gpt2
