#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "temporary_file.h"

namespace gpt2::test {

// An empty folder. It is removed with its content when this object is destroyed.
class TemporaryFolder {
 public:
  TemporaryFolder() { std::filesystem::create_directory(std::filesystem::u8path(path())); }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(std::filesystem::u8path(path()), ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return name_.path(); }
  std::string path(const std::string& name) const { return path() + "/" + name; }

  // The names of its entries, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::u8path(path()))) {
      names.push_back(entry.path().filename().u8string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  TemporaryFile name_;
};

inline void writeFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(std::filesystem::u8path(path), std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

inline std::string readFile(const std::string& path) {
  std::ifstream file(std::filesystem::u8path(path), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace gpt2::test
