#pragma once

#include <ggml.h>

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace gpt2 {

// A matrix as a checkpoint's file stores it: `rows` rows of `columns` numbers.
struct SourceTensor {
  const uint8_t* data;
  size_t byteSize;
  ggml_type type;  // one that can be widened
  int64_t rows;
  int64_t columns;
  // Columns become rows: Hugging Face stores GPT-2's linear layers as [in, out]. Not for quantised
  // types.
  bool transpose;
};

// Throws INVALID_ARGUMENT unless rows and columns of the source are from 1 to 2^31 − 1, so that
// their product cannot overflow, and the rows of source and target are whole blocks of their types.
void checkShape(ggml_type source, int64_t rows, int64_t columns, bool transpose, ggml_type target);

// Returns the tensor's bytes in `type`, row after row. The bytes do not depend on the number of
// threads. Throws INVALID_ARGUMENT if the shape does not fit the bytes, the rows do not fit the
// type's blocks or the type is not one to encode in (canEncode), INVALID_FILE if the type cannot
// hold a number, UNSUPPORTED_MODEL if the source type cannot be widened, and ABORTED.
std::vector<uint8_t> encodeTensor(const SourceTensor& source, ggml_type type, ThreadPool& pool,
                                  const CancelFlag* cancelled = nullptr);

}  // namespace gpt2
