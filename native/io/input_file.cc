#include "io/input_file.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#ifdef _WIN32
#include "io/windows_path.h"
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace gpt2 {

namespace {

const std::string& withoutZeroByte(const std::string& path) {
  if (path.find('\0') == std::string::npos) return path;
  throw Error(code::kFileNotFound, "expected a path without a zero byte");
}

}  // namespace

void InputFile::read(uint64_t offset, size_t length, uint8_t* out,
                     const CancelFlag* cancelled) const {
  constexpr size_t kStep = size_t{16} << 20;  // between checks of the flag
  for (size_t done = 0; done < length;) {
    throwIfCancelled(cancelled);
    done += readSome(offset + done, std::min(length - done, kStep), out + done);
  }
}

#ifdef _WIN32

// The file was opened without FILE_SHARE_WRITE, so it cannot change.
void InputFile::checkUnchanged() const {}

InputFile::InputFile(const std::string& path)
    : path_(withoutZeroByte(path)),
      handle_(CreateFileW(toWindowsPath(path).c_str(), GENERIC_READ,
                          FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                          FILE_ATTRIBUTE_NORMAL, nullptr)) {
  if (handle_ == INVALID_HANDLE_VALUE) {
    const DWORD error = GetLastError();
    const bool missing = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
    throw Error(missing ? code::kFileNotFound : code::kFileUnreadable,
                path + ": cannot be opened (" + windowsReason(error) + ")");
  }
  LARGE_INTEGER size;
  if (GetFileType(handle_) != FILE_TYPE_DISK || !GetFileSizeEx(handle_, &size)) {
    CloseHandle(handle_);
    throw Error(code::kFileUnreadable, path + ": not a regular file");
  }
  size_ = static_cast<uint64_t>(size.QuadPart);
}

InputFile::~InputFile() { CloseHandle(handle_); }

size_t InputFile::readSome(uint64_t offset, size_t length, uint8_t* out) const {
  OVERLAPPED position{};
  position.Offset = static_cast<DWORD>(offset);
  position.OffsetHigh = static_cast<DWORD>(offset >> 32);
  DWORD count = 0;
  if (!ReadFile(handle_, out, static_cast<DWORD>(length), &count, &position) || count == 0) {
    throw Error(code::kFileUnreadable,
                path_ + ": cannot be read (" + windowsReason(GetLastError()) + ")");
  }
  return count;
}

const uint8_t* InputFile::map() const {
  const HANDLE mapping = CreateFileMappingW(handle_, nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (mapping == nullptr) return nullptr;
  void* view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  CloseHandle(mapping);
  return static_cast<const uint8_t*>(view);
}

void InputFile::unmap(const uint8_t* data, size_t) { UnmapViewOfFile(data); }

#else

namespace {

std::string reason(int error) { return std::generic_category().message(error); }

int64_t modificationTime(const struct stat& status) {
#ifdef __APPLE__
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  constexpr int64_t kNanoseconds = 1000000000;
  return static_cast<int64_t>(time.tv_sec) * kNanoseconds + time.tv_nsec;
}

}  // namespace

InputFile::InputFile(const std::string& path)
    : path_(withoutZeroByte(path)),
      // Without O_NONBLOCK, opening a named pipe would block until it has a writer.
      handle_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (handle_ < 0) {
    throw Error(errno == ENOENT || errno == ENOTDIR ? code::kFileNotFound : code::kFileUnreadable,
                path + ": " + reason(errno));
  }
  struct stat status {};
  const int error = fstat(handle_, &status) == 0 ? 0 : errno;
  if (error != 0 || !S_ISREG(status.st_mode)) {
    close(handle_);
    throw Error(code::kFileUnreadable,
                path + ": " + (error == 0 ? "not a regular file" : reason(error)));
  }
  size_ = static_cast<uint64_t>(status.st_size);
  modified_ = modificationTime(status);
}

InputFile::~InputFile() { close(handle_); }

void InputFile::checkUnchanged() const {
  struct stat status {};
  if (fstat(handle_, &status) == 0 && static_cast<uint64_t>(status.st_size) == size_ &&
      modificationTime(status) == modified_) {
    return;
  }
  throw Error(code::kFileUnreadable,
              path_ + ": it was written to (or touched) while it was in use");
}

size_t InputFile::readSome(uint64_t offset, size_t length, uint8_t* out) const {
  for (;;) {
    const ssize_t count = pread(handle_, out, length, static_cast<off_t>(offset));
    if (count > 0) return static_cast<size_t>(count);
    if (count < 0 && errno == EINTR) continue;
    throw Error(code::kFileUnreadable,
                path_ + ": cannot be read: " + (count == 0 ? "it was truncated" : reason(errno)));
  }
}

const uint8_t* InputFile::map() const {
  void* view = mmap(nullptr, size_, PROT_READ, MAP_SHARED, handle_, 0);
  return view == MAP_FAILED ? nullptr : static_cast<const uint8_t*>(view);
}

void InputFile::unmap(const uint8_t* data, size_t size) {
  munmap(const_cast<uint8_t*>(data), size);
}

#endif

}  // namespace gpt2
