#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

namespace {

constexpr size_t kAlignment = 64;  // bytes: a vector of AVX-512, a line of the cache

// How long a thread that waits keeps its processor. Waking one that sleeps takes about as long.
constexpr std::chrono::microseconds kSpinTime{20};

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Scratch::reserve(size_t floats) {
  constexpr size_t kPadding = kAlignment / sizeof(float);
  if (memory_.size() >= floats + kPadding) return;
  // Half as much again: attention wants some more with every token.
  std::vector<float> memory(floats + floats / 2 + kPadding);
  memory_ = std::move(memory);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  aligned_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment / sizeof(float);
}

// What has become of the steps of one call of run(). A thread that the system woke late may still
// look at it when the call has returned, and finds no chunk left; the steps themselves are gone.
struct ThreadPool::Pass {
  struct Progress {
    alignas(kAlignment) std::atomic<int> taken{0};
    int chunks = 0;
    const Step* step = nullptr;
    alignas(kAlignment) std::atomic<int> done{0};
  };

  explicit Pass(size_t steps) : progress(steps) {}

  std::vector<Progress> progress;
  const CancelFlag* cancelled = nullptr;  // of the call; not looked at without a chunk in hand
};

ThreadPool::ThreadPool(int threads) : scratch_(static_cast<size_t>(std::max(threads, 1))) {
  try {
    for (size_t i = 1; i < scratch_.size(); ++i) {
      threads_.emplace_back([this, i] { work(i); });
    }
  } catch (const std::exception&) {
    join();
    throw Error(
        code::kOutOfMemory,
        std::to_string(threads) + " threads cannot be started: the system does not grant as many");
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::join() {
  ending_.store(true);
  wake();
  for (std::thread& thread : threads_) thread.join();
}

size_t ThreadPool::byteSize() const noexcept {
  size_t bytes = 0;
  for (const Scratch& scratch : scratch_) bytes += scratch.byteSize();
  return bytes;
}

void ThreadPool::run(const std::vector<const Step*>& steps, const CancelFlag* cancelled) {
  auto pass = std::make_shared<Pass>(steps.size());
  pass->cancelled = cancelled;
  size_t floats = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    pass->progress[i].step = steps[i];
    pass->progress[i].chunks = steps[i]->chunks();
    floats = std::max(floats, steps[i]->scratch());
  }
  for (Scratch& scratch : scratch_) scratch.reserve(floats);
  if (!threads_.empty()) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      pass_ = pass;
    }
    passCount_.fetch_add(1);
    wake();
  }
  takePart(*pass, 0);
  throwIfCancelled(cancelled);
}

void ThreadPool::work(size_t thread) {
  for (uint64_t seen = 0;;) {
    await([&] { return ending_.load() || passCount_.load() != seen; });
    if (ending_.load()) return;
    std::shared_ptr<Pass> pass;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      pass = pass_;
      seen = passCount_.load();
    }
    takePart(*pass, thread);
  }
}

void ThreadPool::takePart(Pass& pass, size_t thread) {
  using Clock = std::chrono::steady_clock;
  const bool isObserved = thread == 0 && observer_;
  for (Pass::Progress& progress : pass.progress) {
    const Clock::time_point start = isObserved ? Clock::now() : Clock::time_point();
    for (;;) {
      const int chunk = progress.taken.fetch_add(1);
      if (chunk >= progress.chunks) break;
      // Cancelled, the remaining chunks are counted as done.
      const bool cancelled = pass.cancelled != nullptr && pass.cancelled->load();
      if (!cancelled) progress.step->run(chunk, scratch_[thread].data());
      if (progress.done.fetch_add(1) + 1 == progress.chunks) wake();
    }
    await([&] { return progress.done.load() >= progress.chunks; });
    if (isObserved) observer_(*progress.step, Clock::now() - start);
  }
}

template <class Condition>
void ThreadPool::await(const Condition& condition) {
  if (condition()) return;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    constexpr int kPausesPerLook = 16;
    for (int i = 0; i < kPausesPerLook; ++i) {
      pause();
      if (condition()) return;
    }
  } while (std::chrono::steady_clock::now() < end);
  std::unique_lock<std::mutex> lock(mutex_);
  // Counted before the condition is looked at again: who makes it true looks at the count after.
  sleeping_.fetch_add(1);
  changed_.wait(lock, condition);
  sleeping_.fetch_sub(1);
}

void ThreadPool::wake() {
  if (sleeping_.load() == 0) return;
  // Whoever has counted itself holds the mutex until it sleeps.
  { const std::lock_guard<std::mutex> lock(mutex_); }
  changed_.notify_all();
}

}  // namespace gpt2
