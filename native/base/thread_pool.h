#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/cancel_flag.h"

namespace gpt2 {

// Memory for the temporary values of one thread, aligned for vectors. Its contents are unspecified.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Scratch&&) = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  // Grows to at least `floats`. Throws std::bad_alloc and leaves the memory unchanged in that case.
  void reserve(size_t floats);
  float* data() const noexcept { return aligned_; }
  size_t byteSize() const noexcept { return memory_.size() * sizeof(float); }

 private:
  std::vector<float> memory_;
  float* aligned_ = nullptr;
};

// A part of a job that starts when the previous part is done. Its chunks can run concurrently and
// in any order: no chunk reads or writes what another chunk writes.
class Step {
 public:
  virtual ~Step() = default;
  // For observers.
  virtual std::string name() const { return {}; }
  virtual int chunks() const = 0;
  // The number of floats of scratch that a chunk needs.
  virtual size_t scratch() const { return 0; }
  // scratch: of the calling thread, aligned to 64 bytes.
  virtual void run(int chunk, float* scratch) const noexcept = 0;
};

// A pool of threads that runs steps. Threads take chunks one by one, so a descheduled thread delays
// only the chunk it is working on. Each begins with a range of adjacent chunks, since memory is
// prefetched from one chunk to the next, and goes on with what is left of the other ranges. A
// thread that waits for others spins for a few microseconds and then sleeps.
class ThreadPool {
 public:
  static constexpr int kMaxThreads = 512;  // as in ggml

  // threads: including the thread that calls run(). Throws OUT_OF_MEMORY if the system refuses to
  // start them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs the steps one after another. Throws ABORTED if `cancelled` is set by the end; some chunks
  // have not run in that case. Throws std::bad_alloc before the first chunk runs.
  void run(const std::vector<const Step*>& steps, const CancelFlag* cancelled);

  // Receives each step and the time it took, on the thread that calls run().
  using Observer = std::function<void(const Step&, std::chrono::nanoseconds)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  size_t byteSize() const noexcept;

 private:
  struct Job;

  // The main function of the pool's own threads.
  void work(size_t thread);
  void join();
  void runChunks(Job& job, size_t thread);
  // Returns when `condition` holds.
  template <class Condition>
  void await(const Condition& condition);
  void wake();

  std::vector<std::thread> threads_;
  std::vector<Scratch> scratch_;  // one for each thread, starting with the caller's
  Observer observer_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleeping_{0};
  std::atomic<bool> ending_{false};
  std::atomic<uint64_t> jobCount_{0};
  std::shared_ptr<Job> job_;  // guarded by mutex_
};

}  // namespace gpt2
