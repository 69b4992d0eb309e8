#include "io/output_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <system_error>

#include "base/error.h"
#include "io/file_lock.h"

#ifdef _WIN32
#include <process.h>

#include "io/windows_path.h"
#else
#include <fcntl.h>
#include <unistd.h>
#endif

namespace gpt2 {

namespace {

// Bytes between flushes. A flush cannot be interrupted: one of 16 MiB takes about 10 ms, one of
// 512 MB at the end would take 300 ms. Flushing often does not make the whole file slower.
constexpr size_t kFlushInterval = size_t{16} << 20;

// File systems allow names of 255 bytes; Windows, of as many UTF-16 units.
constexpr size_t kMaxNameBytes = 255;

std::string temporaryPath(const std::string& path) {
#ifdef _WIN32
  const int process = _getpid();
  constexpr auto kSeparators = "/\\:";
#else
  constexpr auto kSeparators = "/";
  const int process = getpid();
#endif
  std::random_device random;
  const std::string end = "." + std::to_string(process) + "." + std::to_string(random()) +
                          std::to_string(random()) + ".tmp";
  const size_t name = path.find_last_of(kSeparators) + 1;  // npos + 1 is 0
  if (path.size() - name > kMaxNameBytes)
    return path + end;  // opening it fails, and not the rename
  size_t length = std::min(path.size(), name + kMaxNameBytes - end.size());
  const auto splitsCharacter = [&path](size_t at) {  // of UTF-8
    return at < path.size() && (static_cast<uint8_t>(path[at]) & 0xC0) == 0x80;
  };
  while (length > name && splitsCharacter(length)) --length;
  return path.substr(0, length) + end;
}

}  // namespace

void OutputFile::makeFolder() const {
  if (path_.find('\0') != std::string::npos) {
    throw Error(code::kFileUnwritable, "expected a path without a zero byte");
  }
  std::error_code error;
  const auto folder = std::filesystem::u8path(path_).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) fail(error.value());
}

void OutputFile::write(const uint8_t* bytes, size_t length) {
  constexpr size_t kStep = size_t{16} << 20;
  for (size_t done = 0; done < length;) {
    done += writeSome(bytes + done, std::min(length - done, kStep));
  }
  unflushed_ += length;
  if (unflushed_ >= kFlushInterval) flush();
}

void OutputFile::writeZeros(size_t length) {
  constexpr std::array<uint8_t, 4096> kZeros{};
  for (size_t done = 0; done < length; done += std::min(length - done, kZeros.size())) {
    write(kZeros.data(), std::min(length - done, kZeros.size()));
  }
}

#ifdef _WIN32

// Opening without sharing locks the file.
OutputFile::OutputFile(const std::string& path) : path_(path), temporary_(temporaryPath(path)) {
  makeFolder();
  handle_ = CreateFileW(toWindowsPath(temporary_).c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW,
                        FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle_ == INVALID_HANDLE_VALUE) fail(static_cast<int>(GetLastError()));
  isOpen_ = true;
}

OutputFile::~OutputFile() {
  close();
  if (!isCommitted_) DeleteFileW(toWindowsPath(temporary_).c_str());
}

size_t OutputFile::writeSome(const uint8_t* bytes, size_t length) {
  DWORD count = 0;
  if (!WriteFile(handle_, bytes, static_cast<DWORD>(length), &count, nullptr)) {
    fail(static_cast<int>(GetLastError()));
  }
  return count;
}

void OutputFile::flush() {
  if (!FlushFileBuffers(handle_)) fail(static_cast<int>(GetLastError()));
  unflushed_ = 0;
}

void OutputFile::commit() {
  flush();
  close();  // Windows renames no file that is open without sharing
  if (!MoveFileExW(toWindowsPath(temporary_).c_str(), toWindowsPath(path_).c_str(),
                   MOVEFILE_REPLACE_EXISTING)) {
    fail(static_cast<int>(GetLastError()));
  }
  isCommitted_ = true;
}

void OutputFile::close() noexcept {
  if (isOpen_) CloseHandle(handle_);
  isOpen_ = false;
}

void OutputFile::fail(int error) const {
  const std::string reason = error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL
                                 ? "the disk is full"
                                 : windowsReason(static_cast<DWORD>(error));
  throw Error(code::kFileUnwritable, path_ + ": cannot be written (" + reason + ")");
}

#else

OutputFile::OutputFile(const std::string& path) : path_(path) {
  makeFolder();
  constexpr int kMode = 0666;
  for (;;) {
    temporary_ = temporaryPath(path);
    handle_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
    if (handle_ < 0) fail(errno);
    isOpen_ = true;
    if (FileLock::tryLock(handle_)) return;
    // Another process locked the file first. It takes the writer for dead and removes the file.
    close();
  }
}

OutputFile::~OutputFile() {
  close();
  if (!isCommitted_) unlink(temporary_.c_str());
}

size_t OutputFile::writeSome(const uint8_t* bytes, size_t length) {
  for (;;) {
    const ssize_t count = ::write(handle_, bytes, length);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) fail(errno);
  }
}

void OutputFile::flush() {
  if (fsync(handle_) != 0) fail(errno);
  unflushed_ = 0;
}

void OutputFile::commit() {
  flush();
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  isCommitted_ = true;
  close();  // last, since it releases the lock
}

void OutputFile::close() noexcept {
  if (isOpen_) ::close(handle_);
  isOpen_ = false;
}

void OutputFile::fail(int error) const {
  const std::string reason =
      error == ENOSPC ? "the disk is full" : std::generic_category().message(error);
  throw Error(code::kFileUnwritable, path_ + ": cannot be written (" + reason + ")");
}

#endif

}  // namespace gpt2
