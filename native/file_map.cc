#include "file_map.h"

#include <cerrno>
#include <new>
#include <system_error>

#include "error.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace gpt2 {

namespace {

// The largest vector register is 64 bytes wide.
constexpr std::align_val_t kAlignment{64};

uint8_t* allocate(size_t size, const std::string& path) {
  void* memory = ::operator new(size, kAlignment, std::nothrow);
  if (memory == nullptr) {
    throw Error(code::kOutOfMemory,
                path + ": no memory for its " + std::to_string(size) + " bytes");
  }
  return static_cast<uint8_t*>(memory);
}

}  // namespace

#ifdef _WIN32

namespace {

struct Handle {
  HANDLE value;
  ~Handle() {
    if (value != nullptr && value != INVALID_HANDLE_VALUE) CloseHandle(value);
  }
};

std::wstring widen(const std::string& utf8) {
  const int length =
      MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), nullptr, 0);
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), wide.data(), length);
  return wide;
}

}  // namespace

FileMap::FileMap(const std::string& path, bool map) {
  const Handle file{CreateFileW(widen(path).c_str(), GENERIC_READ,
                                FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                FILE_ATTRIBUTE_NORMAL, nullptr)};
  if (file.value == INVALID_HANDLE_VALUE) {
    const DWORD error = GetLastError();
    const bool missing = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
    throw Error(missing ? code::kFileNotFound : code::kFileUnreadable,
                path + ": cannot be opened (Windows error " + std::to_string(error) + ")");
  }
  LARGE_INTEGER size;
  if (!GetFileSizeEx(file.value, &size)) {
    throw Error(code::kFileUnreadable, path + ": its size cannot be read");
  }
  size_ = static_cast<size_t>(size.QuadPart);
  if (size_ == 0) return;
  if (map) {
    const Handle mapping{CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
    data_ = mapping.value == nullptr
                ? nullptr
                : static_cast<uint8_t*>(MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0));
    if (data_ == nullptr) throw Error(code::kFileUnreadable, path + ": cannot be mapped");
    mapped_ = true;
    return;
  }
  data_ = allocate(size_, path);
  for (size_t done = 0; done < size_;) {
    const DWORD chunk = static_cast<DWORD>(size_ - done < (1u << 30) ? size_ - done : 1u << 30);
    DWORD read = 0;
    if (!ReadFile(file.value, data_ + done, chunk, &read, nullptr) || read == 0) {
      ::operator delete(data_, kAlignment);
      throw Error(code::kFileUnreadable, path + ": cannot be read");
    }
    done += read;
  }
}

FileMap::~FileMap() {
  if (data_ == nullptr) return;
  if (mapped_) {
    UnmapViewOfFile(data_);
  } else {
    ::operator delete(data_, kAlignment);
  }
}

#else

namespace {

std::string reason(int error) { return std::generic_category().message(error); }

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

}  // namespace

FileMap::FileMap(const std::string& path, bool map) {
  // Without O_NONBLOCK, a named pipe would hold up the call until somebody writes to it.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) {
    throw Error(errno == ENOENT || errno == ENOTDIR ? code::kFileNotFound : code::kFileUnreadable,
                path + ": " + reason(errno));
  }
  struct stat status {};
  if (fstat(file.value, &status) != 0) {
    throw Error(code::kFileUnreadable, path + ": " + reason(errno));
  }
  if (!S_ISREG(status.st_mode)) throw Error(code::kFileUnreadable, path + ": not a regular file");
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  if (map) {
    void* view = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.value, 0);
    if (view == MAP_FAILED) {
      throw Error(code::kFileUnreadable, path + ": cannot be mapped: " + reason(errno));
    }
    data_ = static_cast<uint8_t*>(view);
    mapped_ = true;
    return;
  }
  data_ = allocate(size_, path);
  for (size_t done = 0; done < size_;) {
    const ssize_t count = read(file.value, data_ + done, size_ - done);
    if (count > 0) {
      done += static_cast<size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      const std::string why = count == 0 ? "it became shorter" : reason(errno);
      ::operator delete(data_, kAlignment);
      throw Error(code::kFileUnreadable, path + ": cannot be read: " + why);
    }
  }
}

FileMap::~FileMap() {
  if (data_ == nullptr) return;
  if (mapped_) {
    munmap(data_, size_);
  } else {
    ::operator delete(data_, kAlignment);
  }
}

#endif

}  // namespace gpt2
