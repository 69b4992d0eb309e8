#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// The GGUF files that a model lies in: one, or the parts of a split one, as llama.cpp's gguf-split
// and converter write them. Part 1 of 3 is called <prefix>-00001-of-00003.gguf and says what there
// is to say about the model; the others hold tensors. Each is a GGUF file of its own.
class ModelFiles {
 public:
  // path: of the file, or of the first of the parts. Throws what GgufFile throws, FILE_NOT_FOUND
  // for a part that is missing and INVALID_FILE for parts that do not belong together.
  ModelFiles(const std::string& path, bool map, const CancelFlag* cancelled = nullptr);

  const std::vector<std::unique_ptr<const GgufFile>>& parts() const noexcept { return parts_; }
  // The one with the model's metadata.
  const GgufFile& first() const noexcept { return *parts_.front(); }

  // Of all parts.
  const std::vector<const TensorInfo*>& tensors() const noexcept { return tensors_; }
  const TensorInfo* findTensor(std::string_view name) const noexcept;

  // Of all parts: see FileMap.
  void checkUnchanged() const;
  size_t anonymousBytes() const noexcept;

 private:
  const GgufFile& open(const std::string& path, bool map, const CancelFlag* cancelled);
  void openOtherParts(bool map, const CancelFlag* cancelled);
  void addTensors(const GgufFile& part);

  std::vector<std::unique_ptr<const GgufFile>> parts_;
  std::vector<const TensorInfo*> tensors_;
  std::unordered_map<std::string_view, const TensorInfo*> index_;
};

}  // namespace gpt2
