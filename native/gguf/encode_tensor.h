#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

#include "base/cancel_flag.h"

namespace gpt2 {

// A matrix of a checkpoint, as its file holds it: `rows` rows of `columns` numbers.
struct SourceTensor {
  const uint8_t* data;
  size_t byteSize;
  ggml_type type;  // one that can be widened
  int64_t rows;
  int64_t columns;
  // Columns become rows: Hugging Face keeps GPT-2's linear layers as [in, out]. Not of quantised
  // types.
  bool transpose;
};

// The bytes of the tensor in `type`, row after row, on all processors. Throws
// INVALID_ARGUMENT if the sizes do not fit each other or the rows do not fit the type's blocks,
// INVALID_FILE if the type cannot hold a number; and ABORTED.
std::vector<uint8_t> encodeTensor(const SourceTensor& source, ggml_type type,
                                  const CancelFlag* cancelled = nullptr);

}  // namespace gpt2
