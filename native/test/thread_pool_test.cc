// Checks that the pool runs every chunk once, in the order of the steps, and stops when cancelled.

#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

using gpt2::CancelFlag;
using gpt2::Step;
using gpt2::ThreadPool;

namespace {

// Counts how often each chunk runs and checks that the previous step is done by then.
class CountingStep final : public Step {
 public:
  CountingStep(int chunks, const CountingStep* before)
      : counts_(static_cast<size_t>(chunks)), before_(before) {}

  int chunks() const override { return static_cast<int>(counts_.size()); }
  size_t scratch() const override { return 100; }
  void run(int chunk, float* scratch) const noexcept override {
    if (before_ != nullptr && before_->done_ != before_->chunks()) isWrong_ = true;
    // No other thread writes to this scratch at the same time.
    for (int i = 0; i < 100; ++i) scratch[i] = static_cast<float>(chunk);
    for (int i = 0; i < 100; ++i) isWrong_ = isWrong_ || scratch[i] != static_cast<float>(chunk);
    ++counts_[static_cast<size_t>(chunk)];
    ++done_;
  }

  int ran() const { return done_; }
  void check() const {
    CHECK(!isWrong_);
    for (const auto& count : counts_) CHECK_EQUAL(count.load(), 1);
  }

 private:
  mutable std::vector<std::atomic<int>> counts_;
  mutable std::atomic<int> done_{0};
  mutable std::atomic<bool> isWrong_{false};
  const CountingStep* before_;
};

// Its fourth chunk cancels the job; later chunks wait for that.
class CancellingStep final : public Step {
 public:
  explicit CancellingStep(CancelFlag& cancelled) : cancelled_(cancelled) {}
  int chunks() const override { return 1000; }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    ++ran_;
    if (chunk == 3) cancelled_ = true;
    while (chunk > 3 && !cancelled_) std::this_thread::yield();
  }
  int ran() const { return ran_; }

 private:
  CancelFlag& cancelled_;
  mutable std::atomic<int> ran_{0};
};

}  // namespace

TEST(everyChunkRunsOnceAndAfterThePreviousStep) {
  for (const int threads : {1, 2, 3, 16}) {
    ThreadPool pool(threads);
    for (int job = 0; job < 200; ++job) {
      std::vector<std::unique_ptr<CountingStep>> steps;
      std::vector<const Step*> order;
      for (const int chunks : {1, 7, 0, 64, 2, 3}) {
        const CountingStep* before = steps.empty() ? nullptr : steps.back().get();
        steps.push_back(std::make_unique<CountingStep>(chunks, before));
        order.push_back(steps.back().get());
      }
      pool.run(order, nullptr);
      for (const auto& step : steps) step->check();
    }
  }
}

TEST(sleepingThreadsWakeUp) {
  ThreadPool pool(3);
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const CountingStep step(50, nullptr);
    pool.run({&step}, nullptr);
    step.check();
  }
}

TEST(runningNoStepsReturnsAtOnce) {
  ThreadPool pool(2);
  pool.run({}, nullptr);
}

TEST(aCancelledJobStops) {
  for (const int threads : {1, 2, 8}) {
    ThreadPool pool(threads);
    CancelFlag cancelled(false);
    const CancellingStep first(cancelled);
    const CountingStep second(5, nullptr);
    CHECK_ERROR(gpt2::code::kAborted, pool.run({&first, &second}, &cancelled));
    CHECK(first.ran() <= 4 + threads);
    CHECK_EQUAL(second.ran(), 0);
    // The pool can run the next job.
    const CountingStep next(20, nullptr);
    pool.run({&next}, nullptr);
    next.check();
  }
}

TEST(poolsCanBeCreatedAndDestroyedRepeatedly) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(4);
    if (i % 2 == 0) continue;
    const CountingStep step(9, nullptr);
    pool.run({&step}, nullptr);
    step.check();
  }
}
