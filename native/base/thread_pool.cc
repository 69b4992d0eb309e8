#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

namespace {

constexpr size_t kAlignment = 64;  // bytes: an AVX-512 vector or a cache line

// How long a waiting thread spins before it sleeps. Waking a sleeping thread takes about as long.
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
  // Half as much again, because attention needs a little more with every token.
  std::vector<float> memory(floats + floats / 2 + kPadding);
  memory_ = std::move(memory);
  const auto address = reinterpret_cast<uintptr_t>(memory_.data());
  aligned_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment / sizeof(float);
}

// The progress of one call of run(). A thread that wakes up late may still access it after the call
// has returned and the steps are gone; it finds no chunk left.
struct ThreadPool::Job {
  // Adjacent chunks of a step.
  struct alignas(kAlignment) Range {
    std::atomic<int> taken{0};
    int end = 0;
  };
  struct alignas(kAlignment) Progress {
    std::atomic<int> done{0};
    int chunks = 0;
    const Step* step = nullptr;
    Range* ranges = nullptr;
  };

  Job(size_t steps, size_t rangeCount)
      : progress(steps), ranges(steps * rangeCount), rangesPerStep(rangeCount) {}

  // Takes a chunk of a step, or returns −1.
  int take(Progress& step, size_t thread) const {
    for (size_t i = 0; i < rangesPerStep; ++i) {
      Range& range = step.ranges[(thread + i) % rangesPerStep];
      if (range.taken.load(std::memory_order_relaxed) >= range.end) continue;
      const int chunk = range.taken.fetch_add(1);
      if (chunk < range.end) return chunk;
    }
    return -1;
  }

  std::vector<Progress> progress;
  std::vector<Range> ranges;
  size_t rangesPerStep;
  // May dangle after run(). Only a thread that has taken a chunk reads it.
  const CancelFlag* cancelled = nullptr;
};

ThreadPool::ThreadPool(int threads) : scratch_(static_cast<size_t>(std::max(threads, 1))) {
  try {
    for (size_t i = 1; i < scratch_.size(); ++i) {
      threads_.emplace_back([this, i] { work(i); });
    }
  } catch (const std::exception&) {
    join();
    throw Error(code::kOutOfMemory,
                "the system cannot start " + std::to_string(threads) + " threads");
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
  constexpr size_t kMaxRanges = 16;
  const size_t ranges = std::min(scratch_.size(), kMaxRanges);
  auto job = std::make_shared<Job>(steps.size(), ranges);
  job->cancelled = cancelled;
  size_t floats = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    Job::Progress& progress = job->progress[i];
    progress.step = steps[i];
    progress.chunks = steps[i]->chunks();
    progress.ranges = &job->ranges[i * ranges];
    const auto chunks = static_cast<size_t>(progress.chunks);
    for (size_t r = 0; r < ranges; ++r) {
      progress.ranges[r].taken = static_cast<int>(chunks * r / ranges);
      progress.ranges[r].end = static_cast<int>(chunks * (r + 1) / ranges);
    }
    floats = std::max(floats, steps[i]->scratch());
  }
  for (Scratch& scratch : scratch_) scratch.reserve(floats);
  if (!threads_.empty()) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
    }
    jobCount_.fetch_add(1);
    wake();
  }
  runChunks(*job, 0);
  throwIfCancelled(cancelled);
}

void ThreadPool::work(size_t thread) {
  for (uint64_t seen = 0;;) {
    await([&] { return ending_.load() || jobCount_.load() != seen; });
    if (ending_.load()) return;
    std::shared_ptr<Job> job;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job = job_;
      seen = jobCount_.load();
    }
    runChunks(*job, thread);
  }
}

void ThreadPool::runChunks(Job& job, size_t thread) {
  using Clock = std::chrono::steady_clock;
  const bool isObserved = thread == 0 && observer_;
  for (Job::Progress& progress : job.progress) {
    const Clock::time_point start = isObserved ? Clock::now() : Clock::time_point();
    for (;;) {
      const int chunk = job.take(progress, thread);
      if (chunk < 0) break;
      // After a cancellation the remaining chunks are skipped and counted as done.
      const bool cancelled = job.cancelled != nullptr && job.cancelled->load();
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
    constexpr int kPausesPerClockRead = 16;
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      pause();
      if (condition()) return;
    }
  } while (std::chrono::steady_clock::now() < end);
  std::unique_lock<std::mutex> lock(mutex_);
  // The count rises before the condition is checked again. wake() reads the count after the
  // condition has changed, so one of the two sees the other's write.
  sleeping_.fetch_add(1);
  changed_.wait(lock, condition);
  sleeping_.fetch_sub(1);
}

void ThreadPool::wake() {
  if (sleeping_.load() == 0) return;
  // A thread that has raised the count holds the mutex until it sleeps.
  { const std::lock_guard<std::mutex> lock(mutex_); }
  changed_.notify_all();
}

}  // namespace gpt2
