#pragma once

#include <ggml.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cancel_flag.h"
#include "input_file.h"

namespace gpt2 {

// Where the numbers of a tensor lie: a matrix of `rows` rows of `columns` numbers, in a file.
struct TensorSource {
  std::shared_ptr<const InputFile> file;
  uint64_t offset;
  ggml_type type;  // f32, f16 or bf16
  int64_t rows;
  int64_t columns;
  bool transpose;  // columns become rows
};

struct TensorTarget {
  std::string name;
  ggml_type type;
  std::optional<TensorSource> source;
  int64_t zeros;  // without a source: how many zeros in f32
};

// Writes a GGUF file under a temporary name that becomes `path` when it is whole.
// header: the file up to the first tensor; then the tensors follow, each padded to 32 bytes, which
// the header must say. onProgress hears how many bytes of the sources are done. Throws
// FILE_UNREADABLE, FILE_UNWRITABLE, INVALID_FILE for numbers that a type cannot hold,
// INVALID_ARGUMENT, OUT_OF_MEMORY or ABORTED.
void writeGguf(const std::string& path, const std::vector<uint8_t>& header,
               const std::vector<TensorTarget>& tensors,
               const std::function<void(uint64_t)>& onProgress, const CancelFlag* cancelled);

}  // namespace gpt2
