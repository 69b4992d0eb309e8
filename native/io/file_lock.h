#pragma once

#include <memory>
#include <string>

#include "io/file_handle.h"

namespace gpt2 {

// An exclusive lock on a file, between processes and within one. The system releases it when the
// process ends, however it ends.
class FileLock {
 public:
  // Returns the lock, or null while another holder has it. path: UTF-8; the file is created if it
  // does not exist, and stays. Throws FILE_UNWRITABLE.
  static std::unique_ptr<FileLock> tryAcquire(const std::string& path);
  // Locks an open file until its handle is closed. Returns false while another holder has the lock,
  // and for a file that has been removed. Returns true on a file system without locks. On
  // Windows, a file that was opened without sharing is locked already.
  static bool tryLock(FileHandle handle);

  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(FileHandle handle) : handle_(handle) {}

  FileHandle handle_;
};

}  // namespace gpt2
