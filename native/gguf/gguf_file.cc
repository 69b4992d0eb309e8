#include "gguf/gguf_file.h"

#include <cmath>

#include "base/error.h"

namespace gpt2 {

namespace {

constexpr uint64_t kDefaultAlignment = 32;

// Bytes of one element; 0 for strings and arrays, whose size is in the file.
size_t elementSize(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

template <typename T>
T load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

std::string numberText(double number) {
  std::string digits = std::to_string(number);
  const size_t last = digits.find_last_not_of('0');
  return digits.substr(0, digits[last] == '.' ? last : last + 1);
}

std::string shapeText(const TensorInfo& tensor) {
  std::string text = "[";
  for (int i = 0; i < tensor.dimensionCount; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
  }
  return text + "]";
}

}  // namespace

std::optional<double> MetadataValue::number() const {
  if (isArray) return std::nullopt;
  switch (type) {
    case GgufType::kUint8:
      return load<uint8_t>(data);
    case GgufType::kInt8:
      return load<int8_t>(data);
    case GgufType::kUint16:
      return load<uint16_t>(data);
    case GgufType::kInt16:
      return load<int16_t>(data);
    case GgufType::kUint32:
      return load<uint32_t>(data);
    case GgufType::kInt32:
      return load<int32_t>(data);
    case GgufType::kFloat32:
      return load<float>(data);
    case GgufType::kBool:
      return load<uint8_t>(data) != 0 ? 1 : 0;
    case GgufType::kUint64:
      return static_cast<double>(load<uint64_t>(data));
    case GgufType::kInt64:
      return static_cast<double>(load<int64_t>(data));
    case GgufType::kFloat64:
      return load<double>(data);
    default:
      return std::nullopt;
  }
}

std::optional<std::string_view> MetadataValue::string() const {
  if (isArray || type != GgufType::kString) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(data) + sizeof(uint64_t),
                          load<uint64_t>(data));
}

// A cursor over the file's bytes. No read passes their end.
class GgufFile::Reader {
 public:
  explicit Reader(const GgufFile& file)
      : file_(file), at_(file.bytes_.data()), end_(at_ + file.bytes_.size()) {}

  const uint8_t* position() const { return at_; }

  const uint8_t* skip(uint64_t count, const char* what) {
    if (count > static_cast<uint64_t>(end_ - at_)) {
      file_.reject("the file ends inside " + std::string(what) + ", which needs " +
                   std::to_string(count) + " more bytes where " + std::to_string(end_ - at_) +
                   " are left");
    }
    const uint8_t* start = at_;
    at_ += count;
    return start;
  }

  template <typename T>
  T number(const char* what) {
    return load<T>(skip(sizeof(T), what));
  }

  GgufType type(const std::string& what) {
    const auto number = this->number<uint32_t>(what.c_str());
    if (number > static_cast<uint32_t>(GgufType::kFloat64)) rejectType(what, number);
    return static_cast<GgufType>(number);
  }

  ggml_type tensorType(const std::string& what) {
    const auto number = this->number<uint32_t>(what.c_str());
    if (number >= GGML_TYPE_COUNT) rejectType(what, number);
    const auto type = static_cast<ggml_type>(number);
    // Types that ggml has removed have no block.
    if (ggml_blck_size(type) == 0 || ggml_type_size(type) == 0) rejectType(what, number);
    return type;
  }

  [[noreturn]] void rejectType(const std::string& what, uint32_t type) const {
    file_.reject(what + " has the unknown type " + std::to_string(type));
  }

  std::string_view string(const char* what) {
    const auto length = number<uint64_t>(what);
    return {reinterpret_cast<const char*>(skip(length, what)), length};
  }

 private:
  const GgufFile& file_;
  const uint8_t* at_;
  const uint8_t* end_;
};

GgufFile::GgufFile(const std::string& path, bool map, const CancelFlag* cancelled)
    : path_(path), bytes_(path, map, cancelled) {
  Reader reader(*this);
  if (bytes_.size() < 4 || std::memcmp(reader.skip(4, "the magic"), "GGUF", 4) != 0) {
    reject("expected a GGUF file, which starts with the bytes \"GGUF\"");
  }
  version_ = reader.number<uint32_t>("the version");
  if (version_ != 2 && version_ != 3) {
    reject((version_ & 0xffff) == 0
               ? std::string("it is a big-endian GGUF file")
               : "expected GGUF version 2 or 3 but found " + std::to_string(version_));
  }
  const auto tensorCount = reader.number<uint64_t>("the number of tensors");
  const auto metadataCount = reader.number<uint64_t>("the number of metadata values");
  readMetadata(reader, metadataCount);
  readTensors(reader, tensorCount);
}

void GgufFile::readMetadata(Reader& reader, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    std::string key(reader.string("a metadata key"));
    const std::string what = "the metadata value \"" + key + "\"";
    MetadataValue value{};
    value.type = reader.type(what);
    value.count = 1;
    value.isArray = value.type == GgufType::kArray;
    if (value.isArray) {
      value.type = reader.type(what);
      value.count = reader.number<uint64_t>(what.c_str());
    }
    value.data = reader.position();
    if (value.type == GgufType::kString) {
      for (uint64_t n = 0; n < value.count; ++n) reader.string(what.c_str());
    } else {
      const size_t size = elementSize(value.type);
      if (size == 0) reader.rejectType(what, static_cast<uint32_t>(value.type));
      if (value.count > bytes_.size() / size) {
        reject(what + " claims " + std::to_string(value.count) + " elements");
      }
      reader.skip(value.count * size, what.c_str());
    }
    value.end = reader.position();
    metadata_.emplace_back(std::move(key), value);
  }
  // Built last, since growing the vector moves the strings that the index refers to.
  for (size_t i = 0; i < metadata_.size(); ++i) {
    if (!metadataIndex_.emplace(metadata_[i].first, i).second) {
      reject("the metadata key \"" + metadata_[i].first + "\" occurs twice");
    }
  }
}

void GgufFile::readTensors(Reader& reader, uint64_t count) {
  uint64_t alignment = kDefaultAlignment;
  if (const MetadataValue* value = find("general.alignment")) {
    const double number = value->number().value_or(0);
    alignment = number >= 8 && number <= 1 << 20 ? static_cast<uint64_t>(number) : 0;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
      reject("general.alignment is not a power of two of at least 8");
    }
  }

  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < count; ++i) {
    TensorInfo tensor{};
    tensor.file = this;
    tensor.name = reader.string("a tensor's name");
    const std::string what = "the tensor \"" + tensor.name + "\"";
    if (tensor.name.size() >= GGML_MAX_NAME) {
      reject(what + " has a name of more than " + std::to_string(GGML_MAX_NAME - 1) + " bytes");
    }
    const auto dimensionCount = reader.number<uint32_t>(what.c_str());
    if (dimensionCount < 1 || dimensionCount > GGML_MAX_DIMS) {
      reject(what + " has " + std::to_string(dimensionCount) + " dimensions; expected 1 to 4");
    }
    tensor.dimensionCount = static_cast<int>(dimensionCount);
    tensor.shape.fill(1);
    uint64_t elementCount = 1;
    for (int d = 0; d < tensor.dimensionCount; ++d) {
      const auto extent = reader.number<uint64_t>(what.c_str());
      // Every type takes at least one bit per element, so bits limit the number of elements.
      if (extent == 0 || extent > bytes_.size() * 8 / elementCount) {
        reject(what + " has a dimension of " + std::to_string(extent) +
               ", more than the file can hold");
      }
      tensor.shape[d] = static_cast<int64_t>(extent);
      elementCount *= extent;
    }

    tensor.type = reader.tensorType(what);
    if (tensor.shape[0] % ggml_blck_size(tensor.type) != 0) {
      reject(what + " of shape " + shapeText(tensor) + " is of type " +
             ggml_type_name(tensor.type) + ", whose rows are multiples of " +
             std::to_string(ggml_blck_size(tensor.type)));
    }
    tensor.byteSize = elementCount / ggml_blck_size(tensor.type) * ggml_type_size(tensor.type);
    offsets.push_back(reader.number<uint64_t>(what.c_str()));
    if (offsets.back() % alignment != 0) {
      reject(what + " starts at offset " + std::to_string(offsets.back()) +
             ", which is not a multiple of " + std::to_string(alignment));
    }
    tensors_.push_back(std::move(tensor));
  }

  const auto headerSize = static_cast<uint64_t>(reader.position() - bytes_.data());
  const uint64_t dataStart = (headerSize + alignment - 1) / alignment * alignment;
  uint64_t claimed = 0;  // cannot overflow: the file bounds each, its header their number
  for (size_t i = 0; i < tensors_.size(); ++i) {
    TensorInfo& tensor = tensors_[i];
    if (dataStart > bytes_.size() || offsets[i] > bytes_.size() - dataStart ||
        tensor.byteSize > bytes_.size() - dataStart - offsets[i]) {
      reject("the file ends inside the tensor \"" + tensor.name + "\" (" +
             std::to_string(tensor.byteSize) + " bytes from offset " + std::to_string(offsets[i]) +
             " of the data, in a file of " + std::to_string(bytes_.size()) + " bytes)");
    }
    claimed += tensor.byteSize;
    if (claimed > bytes_.size()) {
      reject("its tensors claim more bytes than its " + std::to_string(bytes_.size()) +
             ": they overlap");
    }
    tensor.data = bytes_.data() + dataStart + offsets[i];
  }
}

const MetadataValue* GgufFile::find(std::string_view key) const noexcept {
  const auto found = metadataIndex_.find(key);
  return found == metadataIndex_.end() ? nullptr : &metadata_[found->second].second;
}

std::optional<int64_t> GgufFile::wholeNumber(const char* key, int64_t min, int64_t max) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<double> number = value->number();
  if (!number || !(*number >= static_cast<double>(min) && *number <= static_cast<double>(max)) ||
      *number != std::floor(*number)) {
    reject("expected " + std::string(key) + " to be a whole number from " + std::to_string(min) +
           " to " + std::to_string(max) + " but found " +
           (number ? numberText(*number) : "a value of another type"));
  }
  return static_cast<int64_t>(*number);
}

int64_t GgufFile::requiredWholeNumber(const char* key, int64_t min, int64_t max) const {
  const std::optional<int64_t> number = wholeNumber(key, min, max);
  if (!number) reject("the metadata value \"" + std::string(key) + "\" is missing");
  return *number;
}

void GgufFile::reject(const std::string& reason) const {
  throw Error(code::kInvalidFile, path_ + ": " + reason);
}

}  // namespace gpt2
