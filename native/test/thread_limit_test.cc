// If the system refuses a thread, that is an error. The limit applies to a user's processes, but
// not to root's: a child process of root becomes another user first.

#include <algorithm>
#include <functional>
#include <iostream>
#include <string>

#include "check.h"
#include "ops/device.h"
#include "serving/worker_thread.h"

#ifdef __linux__

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using gpt2::Device;
using gpt2::WorkerThread;
namespace code = gpt2::code;

namespace {

constexpr int kCannotLimit = 77;

// Returns the code of the error that the work throws.
std::string errorOf(const std::function<void()>& work) {
  try {
    work();
  } catch (const gpt2::Error& error) {
    return error.code();
  }
  return "no error";
}

// Becomes another user if it is root, and limits that user's threads and processes.
bool limitThreads(rlim_t limit) {
  constexpr uid_t kNobody = 65534;
  if (geteuid() == 0 && setuid(kNobody) != 0) return false;
  rlimit limits{};
  getrlimit(RLIMIT_NPROC, &limits);
  limits.rlim_cur = std::min(limits.rlim_max, limit);
  return setrlimit(RLIMIT_NPROC, &limits) == 0;
}

// An exception ends the child by a signal, too.
[[noreturn]] void exitWithin(rlim_t limit, const std::function<bool()>& holds) noexcept {
  if (!limitThreads(limit)) _exit(kCannotLimit);
  _exit(holds() ? 0 : 1);
}

// Checks that it holds in a child, which has only this thread. Skips the test if the child cannot
// limit itself.
void checkWithin(rlim_t limit, const std::function<bool()>& holds) {
  std::cout.flush();
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) exitWithin(limit, holds);
  int status = 0;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));  // and not by a signal, as ggml's abort() would
  if (WEXITSTATUS(status) == kCannotLimit)
    SKIP("root cannot become a user whose threads are limited");
  CHECK_EQUAL(WEXITSTATUS(status), 0);
}

void makeDevice() { const Device device("cpu", 8); }
void makeWorker() { const WorkerThread worker; }

}  // namespace

TEST(refusedThreadsAreAnError) {
  checkWithin(1, [] {
    return errorOf(makeDevice) == code::kOutOfMemory && errorOf(makeWorker) == code::kOutOfMemory;
  });
}

TEST(tooFewThreadsAreAnError) {
  for (const rlim_t limit : {2, 5, 7}) {
    checkWithin(limit, [] { return errorOf(makeDevice) == code::kOutOfMemory; });
  }
}

TEST(grantedThreadsAreNoError) {
  checkWithin(100000, [] {
    return errorOf(makeDevice) == "no error" && errorOf(makeWorker) == "no error";
  });
}

#else

namespace {

constexpr const char* kReason = "needs Linux, where RLIMIT_NPROC counts threads";

}  // namespace

TEST(refusedThreadsAreAnError) { SKIP(kReason); }
TEST(tooFewThreadsAreAnError) { SKIP(kReason); }
TEST(grantedThreadsAreNoError) { SKIP(kReason); }

#endif
