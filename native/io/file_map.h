#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/pages.h"
#include "io/input_file.h"

namespace gpt2 {

// A file's bytes in memory, read-only. If mapped, processes share the pages, and each page is read
// on first use. Otherwise the whole file is read into private memory. A mapped file stays open.
class FileMap {
 public:
  // path: UTF-8. Throws FILE_NOT_FOUND, FILE_UNREADABLE, OUT_OF_MEMORY or ABORTED.
  FileMap(const std::string& path, bool map, const CancelFlag* cancelled = nullptr);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const uint8_t* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  // Call before using mapped bytes again. Other processes may have written to the file; if they
  // truncated it, reading the bytes would end this process. Throws FILE_UNREADABLE.
  void checkUnchanged() const;
  // Bytes of private memory; 0 if mapped.
  size_t anonymousBytes() const noexcept { return pages_.size(); }

 private:
  std::unique_ptr<InputFile> file_;  // null unless mapped
  Pages pages_;                      // empty if mapped
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace gpt2
