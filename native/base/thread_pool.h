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

// Memory that one thread works in, aligned for vectors; what it holds is undefined.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Scratch&&) = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  // Throws std::bad_alloc, and then keeps what it had.
  void reserve(size_t floats);
  float* data() const noexcept { return aligned_; }
  size_t byteSize() const noexcept { return memory_.size() * sizeof(float); }

 private:
  std::vector<float> memory_;
  float* aligned_ = nullptr;
};

// A part of a pass that begins when the part before it is done. Its chunks can be worked on at the
// same time and in any order; each writes what no other reads or writes.
class Step {
 public:
  virtual ~Step() = default;
  // For who observes.
  virtual std::string name() const { return {}; }
  virtual int chunks() const = 0;
  // Floats of scratch that a chunk works in.
  virtual size_t scratch() const { return 0; }
  virtual void run(int chunk, float* scratch) const noexcept = 0;
};

// A pool of threads that works through steps. Threads take chunks one by one, so a thread that the
// system gives no time holds up none but the chunk it has; a thread that waits for others spins for
// some microseconds and then sleeps.
class ThreadPool {
 public:
  static constexpr int kMaxThreads = 512;  // as in ggml

  // threads: with the caller's. Throws OUT_OF_MEMORY if the system does not grant them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Throws ABORTED when `cancelled` was set meanwhile: some chunks are then not done. Throws
  // std::bad_alloc before the first.
  void run(const std::vector<const Step*>& steps, const CancelFlag* cancelled);

  // Hears how long each step took, on the thread that calls run().
  using Observer = std::function<void(const Step&, std::chrono::nanoseconds)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  size_t byteSize() const noexcept;

 private:
  struct Pass;

  void work(size_t thread);
  void join();
  void takePart(Pass& pass, size_t thread);
  // Returns when `condition` holds.
  template <class Condition>
  void await(const Condition& condition);
  void wake();

  std::vector<std::thread> threads_;
  std::vector<Scratch> scratch_;  // one for each thread, the caller's first
  Observer observer_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleeping_{0};
  std::atomic<bool> ending_{false};
  std::atomic<uint64_t> passCount_{0};
  std::shared_ptr<Pass> pass_;  // guarded by mutex_
};

}  // namespace gpt2
