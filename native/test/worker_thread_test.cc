#include "serving/worker_thread.h"

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"

using gpt2::CancelFlag;
using gpt2::WorkerThread;
namespace code = gpt2::code;

namespace {

std::shared_ptr<CancelFlag> makeFlag() { return std::make_shared<CancelFlag>(false); }

// Jobs must not throw, so they record what they see, and the test checks it after join().
struct Gate {
  std::promise<void> opened;
  std::promise<void> reached;

  // Called by a job: signals that it runs, then waits for the test.
  void pass() {
    reached.set_value();
    opened.get_future().wait();
  }
};

// Unlike join(), does not stop the worker. A hang ends at ctest's time limit.
void waitUntilEnded(const WorkerThread& worker) {
  while (!worker.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

TEST(runsJobsInTheOrderOfPosting) {
  std::vector<int> order;
  std::promise<void> done;
  WorkerThread worker;
  for (int i = 0; i < 1000; ++i) {
    worker.post(makeFlag(), [&order, i](const CancelFlag&) { order.push_back(i); });
  }
  worker.post(makeFlag(), [&done](const CancelFlag&) { done.set_value(); });
  done.get_future().wait();
  worker.join();
  CHECK_EQUAL(order.size(), 1000U);
  for (int i = 0; i < 1000; ++i) CHECK_EQUAL(order[static_cast<size_t>(i)], i);
}

TEST(runsJobsOneAtATimeOnAThreadOfItsOwn) {
  std::vector<std::thread::id> threads;
  int running = 0;
  bool alone = true;
  WorkerThread worker;
  for (int i = 0; i < 50; ++i) {
    worker.post(makeFlag(), [&](const CancelFlag&) {
      alone = alone && ++running == 1;
      threads.push_back(std::this_thread::get_id());
      --running;
    });
  }
  worker.join();
  CHECK(alone);
  CHECK_EQUAL(threads.size(), 50U);
  for (const std::thread::id id : threads) {
    CHECK(id == threads[0]);
    CHECK(id != std::this_thread::get_id());
  }
}

TEST(runsJobsFromSeveralThreads) {
  int count = 0;  // without a lock: only the worker thread touches it
  WorkerThread worker;
  std::vector<std::thread> posters(4);
  for (std::thread& poster : posters) {
    poster = std::thread([&] {
      for (int i = 0; i < 250; ++i) worker.post(makeFlag(), [&](const CancelFlag&) { ++count; });
    });
  }
  for (std::thread& poster : posters) poster.join();
  worker.join();
  CHECK_EQUAL(count, 1000);
}

TEST(passesEachJobItsOwnFlag) {
  const auto set = makeFlag();
  const auto unset = makeFlag();
  *set = true;
  std::vector<bool> seen;
  std::promise<void> done;
  WorkerThread worker;
  worker.post(set, [&](const CancelFlag& cancelled) { seen.push_back(cancelled); });
  worker.post(unset, [&](const CancelFlag& cancelled) {
    seen.push_back(cancelled);
    done.set_value();
  });
  done.get_future().wait();
  CHECK(seen == (std::vector<bool>{true, false}));
}

TEST(stopSetsTheFlagsOfRunningAndWaitingJobs) {
  Gate gate;
  std::vector<bool> before;
  std::vector<bool> after;
  std::vector<std::shared_ptr<CancelFlag>> flags{makeFlag(), makeFlag(), makeFlag()};
  WorkerThread worker;
  worker.post(flags[0], [&](const CancelFlag& cancelled) {
    before.push_back(cancelled);
    gate.pass();
    after.push_back(cancelled);
  });
  for (size_t i = 1; i < flags.size(); ++i) {
    worker.post(flags[i], [&](const CancelFlag& cancelled) { after.push_back(cancelled); });
  }
  gate.reached.get_future().wait();
  worker.stop();
  for (const auto& flag : flags) CHECK(flag->load());
  gate.opened.set_value();
  worker.join();
  CHECK(before == std::vector<bool>{false});
  CHECK(after == (std::vector<bool>{true, true, true}));
}

TEST(stopLeavesTheFlagsOfFinishedJobs) {
  std::promise<void> done;
  const auto finished = makeFlag();
  WorkerThread worker;
  worker.post(finished, [](const CancelFlag&) {});
  worker.post(makeFlag(), [&](const CancelFlag&) { done.set_value(); });
  done.get_future().wait();
  worker.join();
  CHECK(!finished->load());
}

TEST(runsTheLastFunctionAfterAllJobsAndOnce) {
  Gate gate;
  std::vector<int> order;
  std::thread::id jobThread;
  std::thread::id lastThread;
  WorkerThread worker;
  worker.post(makeFlag(), [&](const CancelFlag&) {
    gate.pass();
    jobThread = std::this_thread::get_id();
    order.push_back(0);
  });
  worker.post(makeFlag(), [&](const CancelFlag&) { order.push_back(1); });
  gate.reached.get_future().wait();
  worker.stop([&] {
    lastThread = std::this_thread::get_id();
    order.push_back(2);
  });
  worker.stop([&] { order.push_back(3); });  // the second call: never runs
  gate.opened.set_value();
  worker.join();
  CHECK(order == (std::vector<int>{0, 1, 2}));
  CHECK(jobThread == lastThread);
}

TEST(runsTheLastFunctionWithoutAnyJob) {
  bool ran = false;
  WorkerThread worker;
  worker.stop([&] { ran = true; });
  worker.join();
  CHECK(ran);
}

TEST(postAfterStopThrows) {
  bool ran = false;
  WorkerThread worker;
  worker.stop();
  CHECK_ERROR(code::kDisposed, worker.post(makeFlag(), [&](const CancelFlag&) { ran = true; }));
  worker.join();
  CHECK_ERROR(code::kDisposed, worker.post(makeFlag(), [&](const CancelFlag&) { ran = true; }));
  CHECK(!ran);
}

TEST(closeRunsTheJobsAlreadyPosted) {
  Gate gate;
  std::vector<bool> seen;
  const std::vector<std::shared_ptr<CancelFlag>> flags{makeFlag(), makeFlag()};
  WorkerThread worker;
  worker.post(flags[0], [&](const CancelFlag& cancelled) {
    gate.pass();
    seen.push_back(cancelled);
  });
  worker.post(flags[1], [&](const CancelFlag& cancelled) { seen.push_back(cancelled); });
  gate.reached.get_future().wait();
  worker.close();
  CHECK_ERROR(code::kDisposed, worker.post(makeFlag(), [](const CancelFlag&) {}));
  gate.opened.set_value();
  waitUntilEnded(worker);
  CHECK(seen == (std::vector<bool>{false, false}));
}

TEST(isClosedByCloseStopAndJoin) {
  WorkerThread closed;
  WorkerThread stopped;
  WorkerThread joined;
  CHECK(!closed.isClosed() && !stopped.isClosed() && !joined.isClosed());
  closed.close();
  stopped.stop();
  joined.join();
  CHECK(closed.isClosed() && stopped.isClosed() && joined.isClosed());
}

TEST(closeEndsAnIdleWorker) {
  WorkerThread worker;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // so that it waits for jobs
  CHECK(!worker.ended());
  worker.close();
  worker.close();
  waitUntilEnded(worker);
}

TEST(stopAfterCloseSetsTheFlags) {
  Gate gate;
  std::vector<bool> seen;
  bool lastRan = false;
  WorkerThread worker;
  worker.post(makeFlag(), [&](const CancelFlag& cancelled) {
    gate.pass();
    seen.push_back(cancelled);
  });
  worker.post(makeFlag(), [&](const CancelFlag& cancelled) { seen.push_back(cancelled); });
  gate.reached.get_future().wait();
  worker.close();
  worker.stop([&] { lastRan = true; });  // closed before: never runs
  gate.opened.set_value();
  worker.join();
  CHECK(seen == (std::vector<bool>{true, true}));
  CHECK(!lastRan);
}

TEST(endsAfterTheLastFunction) {
  Gate job;
  Gate last;
  WorkerThread worker;
  worker.post(makeFlag(), [&](const CancelFlag&) { job.pass(); });
  job.reached.get_future().wait();
  worker.stop([&] { last.pass(); });
  CHECK(!worker.ended());
  job.opened.set_value();
  last.reached.get_future().wait();
  CHECK(!worker.ended());
  last.opened.set_value();
  waitUntilEnded(worker);
}

TEST(destroysReleasedObjectsAfterEarlierJobs) {
  Gate gate;
  std::vector<int> order;
  std::thread::id jobThread;
  std::thread::id goneOn;
  WorkerThread worker;
  worker.post(makeFlag(), [&](const CancelFlag&) {
    gate.pass();
    jobThread = std::this_thread::get_id();
    order.push_back(0);
  });
  gate.reached.get_future().wait();
  worker.post(makeFlag(), [&](const CancelFlag&) { order.push_back(1); });
  worker.release(std::shared_ptr<void>(&order, [&](void*) {
    goneOn = std::this_thread::get_id();
    order.push_back(2);
  }));
  worker.post(makeFlag(), [&](const CancelFlag&) { order.push_back(3); });
  gate.opened.set_value();
  worker.join();
  CHECK(order == (std::vector<int>{0, 1, 2, 3}));
  CHECK(goneOn == jobThread);
}

// Even if the worker has finished with an object before release() returns: most compilers keep an
// argument alive until the end of the full expression.
TEST(neverDestroysReleasedObjectsOnTheCallersThread) {
  std::promise<void> done;
  std::thread::id goneOn;
  WorkerThread worker;
  std::shared_ptr<void> object(&goneOn, [&](void*) { goneOn = std::this_thread::get_id(); });
  worker.release(std::move(object)),
      worker.post(makeFlag(), [&](const CancelFlag&) { done.set_value(); }),
      done.get_future().wait();
  CHECK(goneOn != std::thread::id());
  CHECK(goneOn != std::this_thread::get_id());
}

TEST(keepsReleasedObjectsThatHaveOtherOwners) {
  const auto object = std::make_shared<int>(7);
  WorkerThread worker;
  worker.release(object);
  worker.join();
  CHECK_EQUAL(object.use_count(), 1);
}

TEST(aClosedWorkerReleasesAtOnce) {
  Gate gate;
  bool gone = false;
  std::thread::id goneOn;
  const auto object = [&] {
    return std::shared_ptr<void>(&gone, [&](void*) {
      gone = true;
      goneOn = std::this_thread::get_id();
    });
  };
  WorkerThread worker;
  worker.post(makeFlag(), [&](const CancelFlag&) { gate.pass(); });
  gate.reached.get_future().wait();
  worker.close();
  worker.release(object());  // while a job runs
  CHECK(gone);
  CHECK(goneOn == std::this_thread::get_id());
  gate.opened.set_value();
  worker.join();
  gone = false;
  worker.release(object());
  CHECK(gone);
}

TEST(joinStopsAndCanBeRepeated) {
  WorkerThread worker;
  worker.join();
  worker.join();
  worker.stop();
  worker.join();
}

TEST(aDestroyedWorkerCancelsAndWaits) {
  const auto flag = makeFlag();
  std::promise<void> reached;
  bool sawCancel = false;
  bool secondRan = false;
  {
    WorkerThread worker;
    worker.post(flag, [&](const CancelFlag& cancelled) {
      reached.set_value();
      // Ends when the destructor has set the flag. A hang ends at ctest's time limit.
      while (!cancelled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      sawCancel = true;
    });
    worker.post(makeFlag(), [&](const CancelFlag& cancelled) { secondRan = cancelled; });
    reached.get_future().wait();
  }
  CHECK(sawCancel);
  CHECK(secondRan);
}

TEST(aWorkerCanBeDestroyedAtOnce) {
  for (int i = 0; i < 100; ++i) const WorkerThread worker;
}
