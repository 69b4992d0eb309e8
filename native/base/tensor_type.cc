#include "base/tensor_type.h"

#include <cstring>

namespace gpt2 {

std::string typeName(ggml_type type) {
  std::string name = ggml_type_name(type);
  if (name.back() == 'K') name.back() = 'k';
  return name;
}

std::optional<ggml_type> typeFromName(std::string_view name) {
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    // Types that ggml has removed have no block.
    if (ggml_blck_size(type) > 0 && typeName(type) == name) return type;
  }
  return std::nullopt;
}

bool canWiden(ggml_type type) {
  return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
}

bool canEncode(ggml_type type) {
  switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
      return true;
    default:
      return false;
  }
}

void widen(ggml_type type, const void* from, float* to, int64_t count) {
  if (type == GGML_TYPE_F32) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  } else {
    ggml_get_type_traits(type)->to_float(from, to, count);
  }
}

}  // namespace gpt2
