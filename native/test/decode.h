#pragma once

#include <ggml.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"

namespace gpt2::test {

// Decodes the elements of a tensor type from a string or vector of bytes, with ggml's decoder.
template <typename Bytes>
std::vector<float> decode(const Bytes& bytes, ggml_type type, size_t count) {
  CHECK_EQUAL(bytes.size(), ggml_row_size(type, static_cast<int64_t>(count)));
  std::vector<float> numbers(count);
  if (type == GGML_TYPE_F32) {
    std::memcpy(numbers.data(), bytes.data(), bytes.size());
  } else {
    ggml_get_type_traits(type)->to_float(bytes.data(), numbers.data(), static_cast<int64_t>(count));
  }
  return numbers;
}

}  // namespace gpt2::test
