#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gpt2::test {

// The value's bytes in memory. The machines that run this are little endian, like GGUF.
template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

template <typename T>
std::string raw(const std::vector<T>& values) {
  std::string bytes;
  for (const T& value : values) bytes += raw(value);
  return bytes;
}

// A GGUF string: its length, then its bytes.
inline std::string rawString(const std::string& text) { return raw<uint64_t>(text.size()) + text; }

// Writes GGUF files field by field, well-formed or not, from the specification
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). It shares no code with the engine's
// reader, and takes types by their numbers in the file.
class GgufBuilder {
 public:
  static constexpr uint32_t kUint32 = 4;
  static constexpr uint32_t kFloat32 = 6;
  static constexpr uint32_t kString = 8;
  static constexpr uint32_t kArray = 9;

  std::string magic = "GGUF";
  uint32_t version = 3;
  // The alignment of the tensors' data. It does not set the key general.alignment.
  uint64_t alignment = 32;
  // Counts to write instead of the true ones.
  std::optional<uint64_t> claimedTensors, claimedMetadata;

  GgufBuilder& metadata(const std::string& key, uint32_t type, const std::string& value) {
    metadata_ += rawString(key) + raw(type) + value;
    ++metadataCount_;
    return *this;
  }
  GgufBuilder& array(const std::string& key, uint32_t type, uint64_t count,
                     const std::string& elements) {
    return metadata(key, kArray, raw(type) + raw(count) + elements);
  }
  GgufBuilder& number(const std::string& key, uint32_t value) {
    return metadata(key, kUint32, raw(value));
  }
  GgufBuilder& number(const std::string& key, float value) {
    return metadata(key, kFloat32, raw(value));
  }
  GgufBuilder& string(const std::string& key, const std::string& value) {
    return metadata(key, kString, rawString(value));
  }
  GgufBuilder& strings(const std::string& key, const std::vector<std::string>& values) {
    std::string elements;
    for (const std::string& value : values) elements += rawString(value);
    return array(key, kString, values.size(), elements);
  }

  // offset: the start of the data as written to the file. Defaults to the aligned end of the
  // tensors before it.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                      const std::string& data, std::optional<uint64_t> offset = std::nullopt) {
    pad(data_);
    tensors_ += rawString(name) + raw(static_cast<uint32_t>(shape.size())) + raw(shape) +
                raw(type) + raw(offset.value_or(data_.size()));
    ++tensorCount_;
    data_ += data;
    return *this;
  }

  std::string bytes() const {
    std::string file = magic + raw(version) + raw(claimedTensors.value_or(tensorCount_)) +
                       raw(claimedMetadata.value_or(metadataCount_)) + metadata_ + tensors_;
    if (!data_.empty()) pad(file);
    return file + data_;
  }

 private:
  void pad(std::string& bytes) const {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  }

  std::string metadata_, tensors_, data_;
  uint64_t metadataCount_ = 0, tensorCount_ = 0;
};

}  // namespace gpt2::test
