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
// A request waits until the memory for KV caches has room for all it may take, beside what the
// requests before it may take; a request that is alone begins in any case. A prompt whose next
// block is being evaluated for another request waits and adopts that block.
//
// A request that waits for the host is left out; while all do, there are no passes.
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
  // From any thread: passes the host's reply to the request on a session, which waits for it. A
  // request that was cancelled ends instead. Throws as submit().
  void resume(std::shared_ptr<const Session> session, HostReply reply);

  // From any thread: ends the requests that were cancelled. Otherwise they end with the next pass,
  // and while all requests wait for the host there is none. Throws as submit().
  void wake();

  // Fails the requests that still wait for the host.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

 private:
  // Up to this number of pending tokens, a request is decoding.
  static constexpr int64_t kMaxDecodeTokens = 8;
  static constexpr int64_t kPrefillTokens = 64;

  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    std::shared_ptr<Request> request;
    OnEnd onEnd;
    bool isReady = false;  // has room in the cache's memory; else it waits
  };

  // All on the worker thread.
  void begin(const Entry& entry);
  void resumeNow(const Session& session, HostReply& reply);
  void postPass();
  // The same; without memory for it, fails all requests.
  void postPassOrFail();
  void endCancelled();
  void pass(const CancelFlag& cancelled);
  // Fills next_.
  void planPass();
  // Lets waiting requests begin, in their order, while there is memory for their caches.
  void admit();
  // Evaluates next_; without memory for all at once, one by one.
  void evaluateNext(const CancelFlag& cancelled);
  // Fails these requests with the exception being handled.
  static void failAll(const std::vector<Request*>& requests) noexcept;
  // Fails the requests whose flag is set.
  void failCancelled();
  // Removes the requests that are finished or have failed. Returns whether there were any.
  bool endDone();

  std::shared_ptr<Model> model_;
  WorkerThread& worker_;
  std::deque<Entry> entries_;  // in the order of submission
  bool passIsPosted_ = false;
  // Of a pass with several requests. Set when the worker stops.
  std::shared_ptr<CancelFlag> stopped_ = std::make_shared<CancelFlag>(false);
  // Of the next pass. They have room for all entries, so that a pass is planned without memory.
  std::vector<Request*> decoding_, prefilling_, next_;
  const Request* firstDecoding_ = nullptr;  // that the last pass had no room for; for comparison
};

}  // namespace gpt2
