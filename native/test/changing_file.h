#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "temporary_file.h"

// What others may do to a file while it is open. Not on Windows, which does not let them.

namespace gpt2::test {

// So that a change of now shows in its time, however coarse the system's clock for files is.
inline void backdate(const std::string& path) {
  const std::filesystem::path file = std::filesystem::u8path(path);
  std::filesystem::last_write_time(file,
                                   std::filesystem::last_write_time(file) - std::chrono::hours(1));
}

// Of the file at this path.
using Change = std::function<void(const std::string& path)>;

// After these the bytes that were there when it was opened are no longer what it holds: some are
// appended, it is made shorter, emptied, made shorter within one tick of the clock for files,
// rewritten in place, or whole with as many bytes.
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

// After these whoever has opened it still has the bytes of then: it is replaced, or deleted.
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
