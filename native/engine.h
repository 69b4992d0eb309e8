#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "device.h"

namespace gpt2 {

// A thread of its own that runs jobs one after the other, in the order they came.
class Engine {
 public:
  using Job = std::function<void(const CancelFlag&)>;

  Engine();
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The job is given `cancelled`; it must not throw. Throws DISPOSED after stop().
  void post(std::shared_ptr<CancelFlag> cancelled, Job job);

  // Sets the flag of every job, running or waiting; they still run, and see it. Then `last` runs,
  // if this is the first call, and the thread ends.
  void stop(std::function<void()> last = {});
  bool stopped() const;

  // Stops, and waits until the thread has ended. Not from a job.
  void join();

 private:
  struct Entry {
    std::shared_ptr<CancelFlag> cancelled;
    Job job;
  };
  void work();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  std::shared_ptr<CancelFlag> running_;
  std::function<void()> last_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace gpt2
