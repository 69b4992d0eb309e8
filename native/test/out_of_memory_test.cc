// The serving layer when operator new fails: every request ends, one failure does not fail two,
// stopping needs no memory, and what could not be copied is reported as OUT_OF_MEMORY.
// (memory_limit_test does the same to ggml.)

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "loaded_model.h"
#include "reference_model.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"
#include "session_checks.h"

namespace {

// Allocations of this thread that still succeed. One fails then, or all that follow.
constexpr int64_t kUnlimited = -1;
thread_local int64_t allocationsLeft = kUnlimited;
thread_local bool allFollowingFail = false;
thread_local bool hasFailed = false;

void* allocate(size_t size) {
  if (allocationsLeft == 0) {
    hasFailed = true;
    if (!allFollowingFail) allocationsLeft = kUnlimited;
    throw std::bad_alloc();
  }
  if (allocationsLeft > 0) --allocationsLeft;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// As std::stable_sort allocates its buffer, for example.
void* allocateOrNull(size_t size) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// While it lives, allocations of this thread fail after `count` more.
class FailingAllocations {
 public:
  explicit FailingAllocations(int64_t count = 0) {
    hasFailed = false;
    allFollowingFail = true;
    allocationsLeft = count;
  }
  ~FailingAllocations() {
    allocationsLeft = kUnlimited;
    allFollowingFail = false;
  }
};

}  // namespace

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocateOrNull(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocateOrNull(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

using gpt2::CancelFlag;
using gpt2::EvaluateRequest;
using gpt2::GenerateOptions;
using gpt2::GenerateRequest;
using gpt2::Model;
using gpt2::Request;
using gpt2::Scheduler;
using gpt2::Session;
using gpt2::WorkerThread;
using gpt2::test::cpuOptions;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

std::shared_ptr<CancelFlag> makeFlag() { return std::make_shared<CancelFlag>(false); }

const std::string& modelBytes() {
  static const std::string bytes = ReferenceModel({kVocabulary, 64, 16, 2, 2}).file();
  return bytes;
}

// The outcome of a request. Allocates nothing when the request ends.
struct Outcome {
  const char* failure = "";  // the error's code
  std::promise<void> ended;

  void operator()(Request& request) {
    try {
      if (request.failure()) std::rethrow_exception(request.failure());
    } catch (const gpt2::Error& error) {
      failure = error.code();
    } catch (const std::bad_alloc&) {
      failure = code::kOutOfMemory;
    }
    ended.set_value();
  }
};

bool endsSoon(Outcome& outcome) {
  return outcome.ended.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready;
}

}  // namespace

TEST(stopsWithoutMemory) {
  WorkerThread worker;
  std::promise<void> started;
  std::promise<void> go;
  std::vector<int> order;
  bool wasCancelled = false;
  bool waitingWasCancelled = false;
  worker.post(makeFlag(), [&](const CancelFlag& cancelled) {
    worker.keep(std::shared_ptr<void>(&order, [&](void*) { order.push_back(1); }));
    order.reserve(2);
    started.set_value();
    go.get_future().wait();
    wasCancelled = cancelled;
  });
  worker.post(makeFlag(), [&](const CancelFlag& cancelled) { waitingWasCancelled = cancelled; });
  started.get_future().wait();
  std::function<void()> last = [&] { order.push_back(2); };
  {
    const FailingAllocations failing;
    CHECK(worker.stop(std::move(last)));
    go.set_value();
    worker.join();
    CHECK(!hasFailed);
  }
  CHECK(wasCancelled);
  CHECK(waitingWasCancelled);
  CHECK(order == std::vector<int>({1, 2}));
}

TEST(closesWithoutMemory) {
  WorkerThread worker;
  {
    const FailingAllocations failing;
    worker.close();
    worker.join();
    CHECK(!hasFailed);
  }
  CHECK(worker.ended());
}

TEST(releasesAtOnceWithoutMemory) {
  WorkerThread worker;
  int destroyed = 0;
  std::shared_ptr<void> object(&destroyed, [&](void*) { ++destroyed; });
  {
    const FailingAllocations failing;
    worker.release(std::move(object));
    CHECK(hasFailed);
  }
  CHECK_EQUAL(destroyed, 1);
}

TEST(aForkWithoutMemoryForItsTokensIsOutOfMemory) {
  LoadedModel model(modelBytes());
  const std::vector<uint32_t> tokens = randomTokens(9, kVocabulary, 3);
  const auto original = model->createSession();
  const std::vector<float> expected = model.evaluateLast(*original, 0, tokens);

  const auto fork = model->createSession();
  const auto forkOfFork = model->createSession();
  {
    const FailingAllocations failing;
    fork->copyFrom(*original);
    CHECK(hasFailed);
  }
  forkOfFork->copyFrom(*fork);
  for (Session* session : {fork.get(), forkOfFork.get()}) {
    CHECK_ERROR(code::kOutOfMemory, model.evaluateLast(*session, 9, {1}));
    CHECK_ERROR(code::kOutOfMemory, model.evaluateLast(*session, 5, {1}));
    CHECK(model.evaluateLast(*session, 0, tokens) == expected);
  }
}

TEST(aForkWithoutMemoryForItsCacheIsEvaluatedAgain) {
  LoadedModel model(modelBytes());
  const std::vector<uint32_t> tokens = randomTokens(9, kVocabulary, 3);
  const auto original = model->createSession();
  model.evaluateLast(*original, 0, tokens);
  const auto fork = model->createSession();
  {
    const FailingAllocations failing(1);  // the tokens are copied
    fork->copyFrom(*original);
    CHECK(hasFailed);
  }
  CHECK_EQUAL(fork->evaluated(), 0);
  CHECK(model.evaluateLast(*fork, 9, {7}) == model.evaluateLast(*original, 9, {7}));
}

// One allocation of the worker fails, the first, the second, and so on, until all succeed.
TEST(everyRequestEndsWhicheverAllocationFails) {
  const TemporaryFile file(modelBytes());
  const auto model = std::make_shared<Model>(file.path(), cpuOptions());
  const std::vector<uint32_t> prompt = randomTokens(12, kVocabulary, 4);
  int failedRuns = 0;
  for (int64_t count = 0;; ++count) {
    CHECK(count < 10'000);
    WorkerThread worker;
    Scheduler scheduler(model, worker);
    std::vector<float> logits(kVocabulary);
    std::vector<uint32_t> drawn;
    Outcome outcomes[2];
    std::promise<void> go;
    worker.post(makeFlag(), [&](const CancelFlag&) {
      go.get_future().wait();
      hasFailed = false;
      allocationsLeft = count;
    });
    scheduler.submit(makeFlag(),
                     std::make_shared<EvaluateRequest>(*model, model->createSession(), 0, prompt,
                                                       std::vector<int64_t>{11}, logits.data()),
                     [&](Request& request) { outcomes[0](request); });
    scheduler.submit(makeFlag(),
                     std::make_shared<GenerateRequest>(
                         *model, model->createSession(), 0, prompt, greedy(3),
                         [&](gpt2::NewToken&& token) { drawn.push_back(token.token); }),
                     [&](Request& request) { outcomes[1](request); });
    go.set_value();
    int failed = 0;
    for (Outcome& outcome : outcomes) {
      CHECK(endsSoon(outcome));
      const std::string failure = outcome.failure;
      CHECK(failure.empty() || failure == code::kOutOfMemory);
      if (!failure.empty()) ++failed;
    }
    CHECK(failed < 2);  // what one lacks, the other does not
    std::promise<bool> report;
    worker.post(makeFlag(), [&](const CancelFlag&) {
      allocationsLeft = kUnlimited;
      report.set_value(hasFailed);
    });
    if (!report.get_future().get()) break;
    ++failedRuns;
  }
  CHECK(failedRuns > 20);
}

// From some allocation on, all of the worker's fail, and the worker is stopped.
TEST(everyRequestEndsWhenAWorkerStopsWithoutMemory) {
  const TemporaryFile file(modelBytes());
  const auto model = std::make_shared<Model>(file.path(), cpuOptions());
  const std::vector<uint32_t> prompt = randomTokens(12, kVocabulary, 4);
  for (int64_t count = 0; count < 120; count += 3) {
    WorkerThread worker;
    Scheduler scheduler(model, worker);
    Outcome outcomes[2];
    std::promise<void> go;
    worker.post(makeFlag(), [&](const CancelFlag&) {
      go.get_future().wait();
      allFollowingFail = true;
      allocationsLeft = count;
    });
    for (Outcome& outcome : outcomes) {
      scheduler.submit(makeFlag(),
                       std::make_shared<GenerateRequest>(*model, model->createSession(), 0, prompt,
                                                         greedy(40), [](gpt2::NewToken&&) {}),
                       [&](Request& request) { outcome(request); });
    }
    go.set_value();
    {
      const FailingAllocations failing;
      worker.stop();
      worker.join();
      CHECK(!hasFailed);
    }
    for (Outcome& outcome : outcomes) {
      CHECK(endsSoon(outcome));
      const std::string failure = outcome.failure;
      CHECK(failure == code::kOutOfMemory || failure == code::kAborted ||
            failure == code::kDisposed || failure.empty());
    }
  }
}
