#pragma once

#include <ggml.h>

#include <cstdint>

namespace gpt2 {

// A row of a matrix in f32, the same bits as ggml's to_float; q8_0 and q4_0, which are the usual
// ones, vector by vector. count: a whole number of the type's blocks.
void widenRow(ggml_type type, const void* from, float* to, int64_t count);

}  // namespace gpt2
