#pragma once

#include <memory>
#include <string>

#include "io/file_handle.h"

namespace gpt2 {

// A lock that processes, and others in this one, take by turns. The system releases it when the
// process ends, however it ends, so that none is left behind.
class FileLock {
 public:
  // The lock, or null while somebody else holds it. path: UTF-8; the file is made if it is not
  // there, and stays. Throws FILE_UNWRITABLE.
  static std::unique_ptr<FileLock> tryAcquire(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(FileHandle handle) : handle_(handle) {}

  FileHandle handle_;
};

}  // namespace gpt2
