#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/pages.h"
#include "io/input_file.h"

namespace gpt2 {

// A file's bytes in memory, read-only: mapped, so that several processes share the pages and
// nothing is read before it is used, or read whole into memory of our own. A mapped file stays
// open.
class FileMap {
 public:
  // path: UTF-8. Throws FILE_NOT_FOUND, FILE_UNREADABLE, OUT_OF_MEMORY or ABORTED.
  FileMap(const std::string& path, bool map, const CancelFlag* cancelled = nullptr);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const uint8_t* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  // To be called before mapped bytes are used again: others may have written to the file, and where
  // they have made it shorter, using the bytes would end the process. Throws FILE_UNREADABLE.
  void checkUnchanged() const;
  // Bytes that belong to this process alone: 0 when mapped.
  size_t anonymousBytes() const noexcept { return pages_.size(); }

 private:
  std::unique_ptr<InputFile> file_;  // null unless mapped
  Pages pages_;                      // empty if mapped
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace gpt2
