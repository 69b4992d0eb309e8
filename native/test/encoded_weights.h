#pragma once

#include <ggml-cpu.h>
#include <ggml.h>

#include <functional>
#include <string>
#include <vector>

#include "gguf_builder.h"
#include "random_numbers.h"
#include "reference_model.h"

// Weights in any type that has a dot product in ggml.

namespace gpt2::test {

// Types whose encoders spend seconds on building a table first.
inline bool hasSlowEncoder(ggml_type type) {
  return type == GGML_TYPE_IQ2_XXS || type == GGML_TYPE_IQ2_XS || type == GGML_TYPE_IQ2_S ||
         type == GGML_TYPE_IQ1_S || type == GGML_TYPE_IQ1_M;
}

// Blocks of random bits. In these five types any bits are valid numbers, apart from the scale of
// the block, an f16. The scale comes first; in iq1_m it is spread over the upper four bits of each
// of the last four 16-bit words.
inline std::string randomBlocks(ggml_type type, size_t elementCount, RandomNumbers& random) {
  // Yields numbers of the magnitude of the reference model's own, about 0.1.
  const bool isOneBit = type == GGML_TYPE_IQ1_S || type == GGML_TYPE_IQ1_M;
  const double size = isOneBit ? 0.012 : 0.0018;
  std::string bytes;
  for (size_t i = 0; i < elementCount / static_cast<size_t>(ggml_blck_size(type)); ++i) {
    std::string block(ggml_type_size(type), '\0');
    for (char& byte : block) byte = static_cast<char>(random.below(256));
    const std::string scale =
        raw(ggml_fp32_to_fp16(static_cast<float>(size * (1 + random.symmetric() / 3))));
    if (type == GGML_TYPE_IQ1_M) {
      for (size_t nibble = 0; nibble < 4; ++nibble) {
        char& upper = block[block.size() - 7 + 2 * nibble];
        const int bits = scale[nibble / 2] >> (nibble % 2 * 4) & 0xf;
        upper = static_cast<char>((upper & 0xf) | bits << 4);
      }
    } else {
      block.replace(0, scale.size(), scale);
    }
    bytes += block;
  }
  return bytes;
}

inline void encodeInAnyType(ReferenceModel& reference, const std::string& name, ggml_type type) {
  if (hasSlowEncoder(type)) {
    RandomNumbers random(std::hash<std::string>()(name));
    reference.setBytes(name, type,
                       randomBlocks(type, reference.tensor(name).values.size(), random));
  } else {
    reference.encode(name, type);
  }
}

inline std::vector<ggml_type> typesWithDotProduct() {
  std::vector<ggml_type> types;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    if (ggml_get_type_traits_cpu(type)->vec_dot != nullptr) types.push_back(type);
  }
  return types;
}

}  // namespace gpt2::test
