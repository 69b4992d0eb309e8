#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/file_handle.h"

namespace gpt2 {

// A file that is being written. It has a temporary name until commit() renames it, so that nothing
// under its own name is ever half done; without commit() it goes with this object.
class OutputFile {
 public:
  // path: UTF-8; its folder is made if need be. Throws FILE_UNWRITABLE, as all calls do.
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const uint8_t* bytes, size_t length);
  void writeZeros(size_t length);

  // Puts the file under its own name, replacing what is there; it is on the disk before.
  void commit();

 private:
  void makeFolder() const;
  size_t writeSome(const uint8_t* bytes, size_t length);
  void flush();
  [[noreturn]] void fail(int error) const;

  std::string path_;
  std::string temporary_;
  FileHandle handle_;
  bool isOpen_ = false;
  bool isCommitted_ = false;
  size_t unflushed_ = 0;
};

}  // namespace gpt2
