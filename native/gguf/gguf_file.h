#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/file_map.h"

namespace gpt2 {

// The types of GGUF metadata, numbered as in the file.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// A metadata value in the file's bytes: `count` elements of `type`, one unless it is an array.
struct MetadataValue {
  GgufType type;
  bool isArray;
  uint64_t count;
  const uint8_t* data;
  const uint8_t* end;  // where the next key begins

  // Returns the value of a single number or boolean.
  std::optional<double> number() const;
  std::optional<std::string_view> string() const;
  // Calls `visit(std::string_view)` for every string of a string or an array of strings.
  template <typename Visitor>
  void forEachString(Visitor visit) const;
};

class GgufFile;

struct TensorInfo {
  const GgufFile* file;  // that contains it
  std::string name;
  ggml_type type;
  int dimensionCount;                        // 1 to 4
  std::array<int64_t, GGML_MAX_DIMS> shape;  // ggml's order: the contiguous dimension first
  const uint8_t* data;
  size_t byteSize;
};

// A GGUF file (versions 2 and 3, little endian), opened for reading.
//
// Replaces ggml's own reader. It reads the mapped bytes in place, without a copy of the 100,000
// strings of GPT-2's vocabulary. It checks every count and offset against the file before it uses
// them, and its errors name the problem. ggml's reader writes the problem to the log, and its
// getters fail assertions, which ends the process.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufFile {
 public:
  // Throws FILE_NOT_FOUND, FILE_UNREADABLE, OUT_OF_MEMORY or INVALID_FILE, and ABORTED.
  GgufFile(const std::string& path, bool map, const CancelFlag* cancelled = nullptr);

  const std::string& path() const noexcept { return path_; }
  const FileMap& bytes() const noexcept { return bytes_; }
  uint32_t version() const noexcept { return version_; }

  const std::vector<std::pair<std::string, MetadataValue>>& metadata() const noexcept {
    return metadata_;
  }
  const MetadataValue* find(std::string_view key) const noexcept;
  // Returns the number of a key, if the key exists. Throws INVALID_FILE unless it is a whole number
  // from min to max.
  std::optional<int64_t> wholeNumber(const char* key, int64_t min, int64_t max) const;
  // The same, but throws INVALID_FILE if the key is missing.
  int64_t requiredWholeNumber(const char* key, int64_t min, int64_t max) const;

  // Names may repeat; ModelFiles rejects that.
  const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }

  // Throws INVALID_FILE with the file's path.
  [[noreturn]] void reject(const std::string& reason) const;

 private:
  class Reader;
  void readMetadata(Reader& reader, uint64_t count);
  void readTensors(Reader& reader, uint64_t count);

  std::string path_;
  FileMap bytes_;
  uint32_t version_ = 0;
  std::vector<std::pair<std::string, MetadataValue>> metadata_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, size_t> metadataIndex_;
};

template <typename Visitor>
void MetadataValue::forEachString(Visitor visit) const {
  if (type != GgufType::kString) return;
  const uint8_t* at = data;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t length = 0;
    std::memcpy(&length, at, sizeof length);
    at += sizeof length;
    visit(std::string_view(reinterpret_cast<const char*>(at), length));
    at += length;
  }
}

}  // namespace gpt2
