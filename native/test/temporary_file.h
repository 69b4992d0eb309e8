#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>

namespace gpt2::test {

// A file with a unique name in the system's temporary folder. It is removed with this object.
class TemporaryFile {
 public:
  TemporaryFile() {
    static std::random_device random;
    path_ = std::filesystem::temp_directory_path() /
            ("gpt2-engine-test-" + std::to_string(random()) + "-" + std::to_string(random()));
  }
  explicit TemporaryFile(const std::string& bytes) : TemporaryFile() { write(bytes); }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(const std::string& bytes) const {
    std::ofstream file(path_, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path());
  }

  std::string path() const { return path_.u8string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace gpt2::test
