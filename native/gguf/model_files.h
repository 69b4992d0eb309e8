#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// The GGUF files of a model: one file, or the parts of a split file as llama.cpp's gguf-split and
// converter write them. The first of three parts is called <prefix>-00001-of-00003.gguf and has the
// model's metadata. The others have tensors only. Each part is a GGUF file.
class ModelFiles {
 public:
  // path: the file, or the first part. Throws the errors of GgufFile, FILE_NOT_FOUND for a missing
  // part, and INVALID_FILE for parts that do not belong together.
  ModelFiles(const std::string& path, bool map, const CancelFlag* cancelled = nullptr);

  const std::vector<std::unique_ptr<const GgufFile>>& parts() const noexcept { return parts_; }
  // The file with the model's metadata.
  const GgufFile& first() const noexcept { return *parts_.front(); }

  // The tensors of all parts.
  const std::vector<const TensorInfo*>& tensors() const noexcept { return tensors_; }
  const TensorInfo* findTensor(std::string_view name) const noexcept;

  // For all parts, as in FileMap.
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
