#include "io/file_lock.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

#ifdef _WIN32
#include "io/windows_path.h"
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace gpt2 {

namespace {

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error(code::kFileUnwritable, path + ": cannot be locked (" + reason + ")");
}

}  // namespace

#ifdef _WIN32

bool FileLock::tryLock(FileHandle) { return true; }

std::unique_ptr<FileLock> FileLock::tryAcquire(const std::string& path) {
  if (path.find('\0') != std::string::npos) fail(path, "the path contains a zero byte");
  const FileHandle handle = CreateFileW(toWindowsPath(path).c_str(), GENERIC_WRITE, 0, nullptr,
                                        OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle != INVALID_HANDLE_VALUE) return std::unique_ptr<FileLock>(new FileLock(handle));
  const DWORD error = GetLastError();
  if (error == ERROR_SHARING_VIOLATION) return nullptr;
  fail(path, windowsReason(error));
}

FileLock::~FileLock() { CloseHandle(handle_); }

#else

bool FileLock::tryLock(FileHandle handle) {
  // Any other failure means a file system without locks, on which waiting would not help.
  if (flock(handle, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  // The previous holder may have removed the file. A lock on a removed file excludes no one.
  struct stat status {};
  return fstat(handle, &status) != 0 || status.st_nlink > 0;
}

std::unique_ptr<FileLock> FileLock::tryAcquire(const std::string& path) {
  if (path.find('\0') != std::string::npos) fail(path, "the path contains a zero byte");
  constexpr int kMode = 0666;
  const int handle = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, kMode);
  if (handle < 0) fail(path, std::generic_category().message(errno));
  std::unique_ptr<FileLock> lock(new FileLock(handle));
  return tryLock(handle) ? std::move(lock) : nullptr;
}

FileLock::~FileLock() { close(handle_); }

#endif

}  // namespace gpt2
