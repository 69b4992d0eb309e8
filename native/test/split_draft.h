#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gguf_builder.h"
#include "reference_model.h"
#include "temporary_file.h"
#include "temporary_folder.h"

namespace gpt2::test {

// A model's tensors in several files, as llama.cpp's gguf-split writes them: the first has all
// metadata, and each has three more keys. Tests change the draft before they write it.
class SplitDraft {
 public:
  struct Part {
    std::map<std::string, std::pair<uint32_t, std::string>> keys;  // types and bytes of the values
    std::vector<std::string> tensors;
    uint32_t alignment = 32;

    Part& set(const std::string& key, uint32_t type, const std::string& bytes) {
      keys[key] = {type, bytes};
      return *this;
    }
    Part& number(int number) { return set("split.no", 2, raw(static_cast<uint16_t>(number))); }
    Part& count(int count) { return set("split.count", 2, raw(static_cast<uint16_t>(count))); }
    Part& tensorCount(int count) { return set("split.tensors.count", 5, raw<int32_t>(count)); }
  };

  explicit SplitDraft(ReferenceModel model, size_t count = 3)
      : model_(std::move(model)), parts_(count) {
    size_t i = 0;
    for (const auto& [name, tensor] : model_.tensors()) {
      parts_[i++ * count / model_.tensors().size()].tensors.push_back(name);
    }
    for (size_t part = 0; part < count; ++part) {
      parts_[part]
          .number(static_cast<int>(part))
          .count(static_cast<int>(count))
          .tensorCount(static_cast<int>(model_.tensors().size()));
    }
  }

  Part& part(size_t index) { return parts_[index]; }

  // Moves the first part's tensors to the second, like gguf-split --no-tensor-first-split.
  SplitDraft& withoutTensorsInTheFirst() {
    std::vector<std::string>& first = parts_[0].tensors;
    parts_[1].tensors.insert(parts_[1].tensors.begin(), first.begin(), first.end());
    first.clear();
    return *this;
  }

  static std::string name(size_t index, size_t count, const std::string& prefix = "model") {
    char end[64];
    std::snprintf(end, sizeof end, "-%05zu-of-%05zu.gguf", index + 1, count);
    return prefix + end;
  }
  std::string path(const TemporaryFolder& folder, size_t index) const {
    return folder.path(name(index, parts_.size()));
  }

  std::string bytes(size_t index) const {
    const Part& part = parts_[index];
    GgufBuilder builder = index == 0 ? model_.metadata() : GgufBuilder();
    for (const auto& [key, value] : part.keys) builder.metadata(key, value.first, value.second);
    if (part.alignment != 32) builder.number("general.alignment", part.alignment);
    builder.alignment = part.alignment;
    for (const std::string& tensor : part.tensors) {
      const ReferenceTensor& source = model_.tensors().at(tensor);
      std::vector<uint64_t> extents{source.in};
      if (source.out != 0) extents.push_back(source.out);
      builder.tensor(tensor, extents, source.type, source.bytes);
    }
    return builder.bytes();
  }

  // Returns the path of the first part.
  std::string write(const TemporaryFolder& folder) const {
    for (size_t i = 0; i < parts_.size(); ++i) writeFile(path(folder, i), bytes(i));
    return path(folder, 0);
  }

 private:
  ReferenceModel model_;
  std::vector<Part> parts_;
};

}  // namespace gpt2::test
