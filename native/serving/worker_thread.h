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

// A thread that runs jobs one after the other, in the order in which they were posted.
//
// Stopping must work without memory, since running out of it is a reason to stop: stop(), close()
// and join() allocate nothing.
class WorkerThread {
 public:
  using Job = std::function<void(const CancelFlag&)>;

  // logger: receives the lines that ggml logs during the jobs. Throws OUT_OF_MEMORY if the system
  // starts no thread.
  explicit WorkerThread(Logger logger = {});
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // The job receives `cancelled`; it must not throw. Throws DISPOSED after stop() or close(), and
  // std::bad_alloc.
  void post(std::shared_ptr<CancelFlag> cancelled, Job job);

  // From a job: keeps an object until the last job has run, and destroys it on this thread.
  void keep(std::shared_ptr<void> object) { kept_ = std::move(object); }

  // Drops a reference on this thread, after the jobs posted so far: freeing a model's memory would
  // block the caller's event loop. Without memory for the job, and after stop() or close(), the
  // calling thread drops it.
  void release(std::shared_ptr<void> object) noexcept;

  // Accepts no more jobs. The thread ends after those already posted.
  void close() noexcept;

  // Accepts no more jobs and sets the flag of every job, running or waiting. These still run and
  // see the flag. Then the kept object is destroyed, `last` runs, and the thread ends. Returns
  // false, and drops `last`, if the thread accepted no jobs before.
  bool stop(std::function<void()> last = {}) noexcept;
  // Whether close() or stop() was called. After stop(), the kept object may be gone.
  bool isClosed() const;
  // Whether the last job has run, so that join() does not wait.
  bool ended() const { return ended_; }

  // Stops, and waits until the thread has ended. Not from a job.
  void join();

 private:
  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    Job job;
  };
  void work(Logger logger);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  std::shared_ptr<CancelFlag> running_;
  std::shared_ptr<void> kept_;  // touched by this thread alone
  std::function<void()> last_;
  bool closed_ = false;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace gpt2
