#include "gguf/model_files.h"

#include <limits>

#include "base/error.h"

namespace gpt2 {

namespace {

constexpr const char* kNumberKey = "split.no";  // from 0
constexpr const char* kCountKey = "split.count";
constexpr const char* kTensorCountKey = "split.tensors.count";  // of all parts

constexpr int64_t kMaxParts = std::numeric_limits<uint16_t>::max();  // the range of the key's type
constexpr int64_t kMaxTensors = std::numeric_limits<int32_t>::max();

std::string fiveDigits(int64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(5 - digits.size(), '0') + digits;
}

// The end of a part's file name. number: from 0
std::string nameEnd(int64_t number, int64_t count) {
  return "-" + fiveDigits(number + 1) + "-of-" + fiveDigits(count) + ".gguf";
}

std::string partText(int64_t number, int64_t count) {
  return "part " + std::to_string(number + 1) + " of " + std::to_string(count);
}

// The path of a part without that end.
std::string prefixOf(const GgufFile& part, int64_t number, int64_t count) {
  const std::string end = nameEnd(number, count);
  const std::string& path = part.path();
  if (path.size() < end.size() || path.compare(path.size() - end.size(), end.size(), end) != 0) {
    part.reject("expected a name that ends with \"" + end + "\", since the file is " +
                partText(number, count) + " of a model");
  }
  return path.substr(0, path.size() - end.size());
}

void expectEqual(const GgufFile& part, const char* key, int64_t max, int64_t expected,
                 const std::string& reason) {
  const int64_t found = part.requiredWholeNumber(key, 0, max);
  if (found != expected) {
    part.reject("expected " + std::string(key) + " to be " + std::to_string(expected) + reason +
                " but found " + std::to_string(found));
  }
}

}  // namespace

ModelFiles::ModelFiles(const std::string& path, bool map, const CancelFlag* cancelled) {
  addTensors(open(path, map, cancelled));
  // gguf-split --merge writes 0.
  if (first().wholeNumber(kCountKey, 0, kMaxParts).value_or(0) > 1) {
    openOtherParts(map, cancelled);
  }
}

const GgufFile& ModelFiles::open(const std::string& path, bool map, const CancelFlag* cancelled) {
  return *parts_.emplace_back(std::make_unique<const GgufFile>(path, map, cancelled));
}

void ModelFiles::addTensors(const GgufFile& part) {
  for (const TensorInfo& tensor : part.tensors()) {
    const auto [entry, isNew] = index_.emplace(tensor.name, &tensor);
    if (!isNew) {
      const GgufFile& other = *entry->second->file;
      part.reject("the tensor \"" + tensor.name + "\" occurs twice" +
                  (&other == &part ? "" : ", here and in " + other.path()));
    }
    tensors_.push_back(&tensor);
  }
}

void ModelFiles::openOtherParts(bool map, const CancelFlag* cancelled) {
  const GgufFile& given = first();
  const int64_t count = given.requiredWholeNumber(kCountKey, 0, kMaxParts);
  const int64_t number = given.requiredWholeNumber(kNumberKey, 0, count - 1);
  const int64_t tensorCount = given.requiredWholeNumber(kTensorCountKey, 0, kMaxTensors);
  const std::string prefix = prefixOf(given, number, count);
  if (number != 0) {
    given.reject("expected the first part of the model, " + prefix + nameEnd(0, count) +
                 ", but found " + partText(number, count));
  }
  const std::string asFirst = ", as in " + given.path() + ",";
  for (int64_t i = 1; i < count; ++i) {
    throwIfCancelled(cancelled);
    const GgufFile& part = open(prefix + nameEnd(i, count), map, cancelled);
    expectEqual(part, kNumberKey, kMaxParts, i, ", as its name says,");
    expectEqual(part, kCountKey, kMaxParts, count, asFirst);
    expectEqual(part, kTensorCountKey, kMaxTensors, tensorCount, asFirst);
    addTensors(part);
  }
  if (static_cast<int64_t>(tensors_.size()) != tensorCount) {
    given.reject("expected " + std::to_string(tensorCount) + " tensors in its " +
                 std::to_string(count) + " parts, as " + kTensorCountKey + " says, but found " +
                 std::to_string(tensors_.size()));
  }
}

const TensorInfo* ModelFiles::findTensor(std::string_view name) const noexcept {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

void ModelFiles::checkUnchanged() const {
  for (const auto& part : parts_) part->bytes().checkUnchanged();
}

size_t ModelFiles::anonymousBytes() const noexcept {
  size_t sum = 0;
  for (const auto& part : parts_) sum += part->bytes().anonymousBytes();
  return sum;
}

}  // namespace gpt2
