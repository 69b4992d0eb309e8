#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "io/file_handle.h"

namespace gpt2 {

// A file that is being written. Until commit() renames it, it has the temporary name
// <path>.<process id>.<digits>.tmp, so that a file under its own name is always complete. Without
// commit() it is removed with this object.
//
// The temporary file is locked (FileLock) as long as this object lives. If FileLock::tryAcquire
// locks a file of such a name, its writer is dead and the file can be removed.
class OutputFile {
 public:
  // path: UTF-8; its folder is created if it does not exist. Throws FILE_UNWRITABLE, as do all
  // calls.
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const uint8_t* bytes, size_t length);
  void writeZeros(size_t length);

  // Flushes the file to the disk and renames it to its own name, replacing an existing file.
  void commit();

 private:
  void makeFolder() const;
  void close() noexcept;
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
