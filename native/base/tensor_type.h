#pragma once

#include <ggml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gpt2 {

// Returns ggml's name of a type, all in lower case: "f32", "q8_0", "q4_k".
std::string typeName(ggml_type type);
std::optional<ggml_type> typeFromName(std::string_view name);

// Whether elements of the type can be widened to f32.
bool canWiden(ggml_type type);

// Whether tensors can be encoded in the type: f32, f16, bf16, and the block formats that ggml
// quantises to without an importance matrix. For other types ggml_quantize_chunk() fails an
// assertion or depends on tables that it allocates unchecked.
bool canEncode(ggml_type type);

// Converts `count` elements of `type` to f32. count: a multiple of the type's block.
void widen(ggml_type type, const void* from, float* to, int64_t count);

}  // namespace gpt2
