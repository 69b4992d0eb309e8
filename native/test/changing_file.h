#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "temporary_file.h"

// What other processes may do to an open file. Windows does not let them.

namespace gpt2::test {

// Makes sure that a later change alters the modification time, however coarse the file system's
// clock is.
inline void backdate(const std::string& path) {
  const std::filesystem::path file = std::filesystem::u8path(path);
  std::filesystem::last_write_time(file,
                                   std::filesystem::last_write_time(file) - std::chrono::hours(1));
}

// A change of the file at this path.
using Change = std::function<void(const std::string& path)>;

// Changes of the bytes of an open file: appending, truncating, emptying, truncating within one tick
// of the file system's clock, rewriting a part in place, and rewriting all with the same size.
inline std::vector<Change> changesOfTheBytes() {
  using std::filesystem::file_size;
  using std::filesystem::resize_file;
  return {
      [](const std::string& path) { std::ofstream(path, std::ios::app) << "x"; },
      [](const std::string& path) { resize_file(path, file_size(path) - 1); },
      [](const std::string& path) { resize_file(path, 0); },
      [](const std::string& path) {
        const auto time = std::filesystem::last_write_time(path);
        resize_file(path, file_size(path) - 1);
        std::filesystem::last_write_time(path, time);
      },
      [](const std::string& path) {
        std::fstream(path, std::ios::binary | std::ios::in | std::ios::out) << "xx";
      },
      [](const std::string& path) {
        const auto size = static_cast<size_t>(file_size(path));
        std::ofstream(path, std::ios::binary | std::ios::trunc) << std::string(size, 'x');
      },
  };
}

// Changes after which an open file still has its bytes: the name is replaced or deleted.
inline std::vector<Change> changesOfTheName() {
  return {
      [](const std::string& path) {
        const TemporaryFile other("quite another file");
        std::filesystem::rename(other.path(), path);
      },
      [](const std::string& path) { std::filesystem::remove(path); },
  };
}

}  // namespace gpt2::test
