#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/cancel_flag.h"
#include "io/file_handle.h"

namespace gpt2 {

// A regular file, opened for reading.
class InputFile {
 public:
  // path: UTF-8. Throws FILE_NOT_FOUND or FILE_UNREADABLE.
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  // The size when the file was opened.
  uint64_t size() const noexcept { return size_; }

  // Reads `length` bytes at `offset` to `out`. Throws FILE_UNREADABLE, also if the file was
  // truncated, and ABORTED.
  void read(uint64_t offset, size_t length, uint8_t* out, const CancelFlag* cancelled) const;

  // Throws FILE_UNREADABLE if the file was written to since it was opened.
  void checkUnchanged() const;

  // Maps the whole file, read-only, until unmap(). Returns null if the system refuses.
  const uint8_t* map() const;
  static void unmap(const uint8_t* data, size_t size);

 private:
  // Reads at most `length` bytes. Throws FILE_UNREADABLE, also at the end of the file.
  size_t readSome(uint64_t offset, size_t length, uint8_t* out) const;

  std::string path_;
  uint64_t size_ = 0;
  int64_t modified_ = 0;  // the modification time in nanoseconds
  FileHandle handle_;
};

}  // namespace gpt2
