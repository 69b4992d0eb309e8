#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/cancel_flag.h"
#include "base/logger.h"

namespace gpt2 {

// A thread of its own that runs jobs one after the other, in the order they came.
class WorkerThread {
 public:
  using Job = std::function<void(const CancelFlag&)>;

  // logger: hears what ggml writes in the jobs. Throws OUT_OF_MEMORY if the system grants no
  // thread.
  explicit WorkerThread(Logger logger = {});
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // The job is given `cancelled`; it must not throw. Throws DISPOSED after stop() or close().
  void post(std::shared_ptr<CancelFlag> cancelled, Job job);

  // Lets go of an object when the jobs before are done, on the worker thread: giving back the
  // memory of a model takes longer than an event loop may wait. When it takes no jobs it goes at
  // once.
  void release(std::shared_ptr<void> object);

  // Takes no more jobs; when those that are there are done, the thread ends.
  void close();

  // Sets the flag of every job, running or waiting; they still run, and see it. Then `last` runs,
  // and the thread ends. False, and `last` does not run, if the worker took no jobs any more.
  bool stop(std::function<void()> last = {});
  // Whether the thread has done its last job, so that join() does not wait.
  bool ended() const { return ended_; }

  // Stops, and waits until the thread has ended. Not from a job.
  void join();

 private:
  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    Job job;
  };
  void work();

  Logger logger_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  std::shared_ptr<CancelFlag> running_;
  std::function<void()> last_;
  bool closed_ = false;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace gpt2
