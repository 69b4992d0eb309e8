#include "io/file_lock.h"

#include <string>

#include "check.h"
#include "temporary_folder.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

using gpt2::FileLock;
using gpt2::test::TemporaryFolder;
namespace code = gpt2::code;

TEST(hasOneHolderAtATime) {
  const TemporaryFolder folder;
  auto held = FileLock::tryAcquire(folder.path("lock"));
  CHECK(held != nullptr);
  CHECK(FileLock::tryAcquire(folder.path("lock")) == nullptr);
  CHECK(FileLock::tryAcquire(folder.path("other")) != nullptr);
  held.reset();
  CHECK(FileLock::tryAcquire(folder.path("lock")) != nullptr);
}

TEST(aFileThatCannotBeLockedIsRefused) {
  const TemporaryFolder folder;
  CHECK_ERROR(code::kFileUnwritable, FileLock::tryAcquire(folder.path("missing/lock")));
  CHECK_ERROR(code::kFileUnwritable, FileLock::tryAcquire(folder.path("a") + '\0'));
}

#ifndef _WIN32

TEST(aKilledProcessReleasesItsLock) {
  const TemporaryFolder folder;
  const std::string path = folder.path("lock");
  int ready[2];
  CHECK_EQUAL(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto held = FileLock::tryAcquire(path);
    const char answer = held ? 'y' : 'n';
    if (write(ready[1], &answer, 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char answer = 0;
  CHECK_EQUAL(read(ready[0], &answer, 1), 1);
  CHECK_EQUAL(answer, 'y');
  CHECK(FileLock::tryAcquire(path) == nullptr);
  CHECK_EQUAL(kill(child, SIGKILL), 0);
  CHECK_EQUAL(waitpid(child, nullptr, 0), child);
  CHECK(FileLock::tryAcquire(path) != nullptr);
  close(ready[0]);
  close(ready[1]);
}

#else

TEST(aKilledProcessReleasesItsLock) { SKIP("needs fork"); }

#endif
