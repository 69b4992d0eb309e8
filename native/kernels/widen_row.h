#pragma once

#include <ggml.h>

#include <cstdint>

namespace gpt2 {

// Converts a row of a matrix to f32, with the same bits as ggml's to_float. f16 and bf16 are
// converted with SIMD. count: a multiple of the type's block size.
void widenRow(ggml_type type, const void* from, float* to, int64_t count);

}  // namespace gpt2
