#pragma once

#include <ggml.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/cancel_flag.h"
#include "io/input_file.h"

namespace gpt2 {

// Numbers stored in a file: a matrix of `rows` rows of `columns` numbers.
struct TensorPart {
  std::shared_ptr<const InputFile> file;
  uint64_t offset;
  ggml_type type;  // one that can be widened, or f64
  int64_t rows;
  int64_t columns;
  bool transpose;  // columns become rows
  // Numbers from one row to the next and from one number of a row to the next, as
  // torch.Tensor.stride() has them. 0: the same numbers again.
  int64_t rowStride;
  int64_t columnStride;

  bool isContiguous() const { return columnStride == 1 && rowStride == columns; }
};

// Numbers drawn from a normal distribution around 0 (normal_numbers.h).
struct DrawnNumbers {
  uint64_t seed;
  uint64_t stream;  // one of many independent sequences of the seed
  double deviation;
  int64_t rows;
  int64_t columns;
};

// A vector of equal numbers, written in f32.
struct EqualNumbers {
  float value;
  int64_t count;
};

// A factor for the first numbers of a tensor, multiplied in f32.
struct Scale {
  float factor = 1;
  int64_t count = 0;  // numbers to multiply; 0: none
};

// A change of low rank (LoRA): factor × left × right is added, in f32, to the rows of a tensor from
// `firstRow` on.
struct LowRankUpdate {
  TensorPart left;   // [rows, rank], after its transposition
  TensorPart right;  // [rank, numbers per row of the tensor], after its transposition
  float factor;
  int64_t firstRow;
};

struct TensorTarget {
  std::string name;
  ggml_type type;
  // Several parts are concatenated along the rows.
  std::variant<std::vector<TensorPart>, DrawnNumbers, EqualNumbers> numbers;
  // Changes of parts only: updates are added, and then numbers are multiplied.
  std::vector<LowRankUpdate> updates = {};
  Scale scale = {};
};

// Writes a GGUF file under a temporary name and renames it to `path` when it is complete.
// header: the file up to the first tensor. The tensors follow, each padded to 32 bytes; the header
// must list them so. threads: the number of threads that encode, or 0 for one per physical core; if
// the system does not grant them, fewer encode. onProgress receives the number of source bytes done
// so far, on the calling thread; drawn numbers count as f32. Throws FILE_UNREADABLE,
// FILE_UNWRITABLE, INVALID_FILE for numbers that a type cannot hold, INVALID_ARGUMENT,
// OUT_OF_MEMORY or ABORTED.
void writeGguf(const std::string& path, const std::vector<uint8_t>& header,
               const std::vector<TensorTarget>& tensors, int threads,
               const std::function<void(uint64_t)>& onProgress, const CancelFlag* cancelled);

}  // namespace gpt2
