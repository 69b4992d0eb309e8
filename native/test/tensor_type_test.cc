#include "base/tensor_type.h"

#include <set>
#include <string>
#include <vector>

#include "check.h"

using gpt2::canWiden;
using gpt2::typeFromName;
using gpt2::typeName;
using gpt2::widen;

// The names of llama.cpp's tools, in lower case.
TEST(namesTypes) {
  CHECK_EQUAL(typeName(GGML_TYPE_F32), "f32");
  CHECK_EQUAL(typeName(GGML_TYPE_BF16), "bf16");
  CHECK_EQUAL(typeName(GGML_TYPE_Q8_0), "q8_0");
  CHECK_EQUAL(typeName(GGML_TYPE_Q4_K), "q4_k");
  CHECK_EQUAL(typeName(GGML_TYPE_IQ2_XXS), "iq2_xxs");
}

TEST(findsEveryTypeByItsName) {
  std::set<std::string> names;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    if (ggml_blck_size(type) == 0) continue;  // a type that ggml has removed
    const std::string name = typeName(type);
    for (const char c : name) CHECK(c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'));
    CHECK(names.insert(name).second);
    CHECK(typeFromName(name) == type);
  }
  CHECK(names.size() >= 35);
}

TEST(findsNoTypeByOtherNames) {
  for (const char* name : {"", "F16", "q4_K", "q4", "float32", "q4_0 ", "q4_2", "DEPRECATED"}) {
    CHECK(!typeFromName(name).has_value());
  }
}

TEST(widensTypesThatCanBeWidened) {
  CHECK(canWiden(GGML_TYPE_F32));
  CHECK(canWiden(GGML_TYPE_F16));
  CHECK(canWiden(GGML_TYPE_Q4_K));
  for (const ggml_type type : {GGML_TYPE_I32, GGML_TYPE_F64, GGML_TYPE_Q8_1, GGML_TYPE_Q8_K}) {
    CHECK(!canWiden(type));
  }
  const float single[2] = {0.1F, -7};
  const uint16_t half[2] = {0x3c00, 0xc000};  // 1 and −2
  float wide[2];
  widen(GGML_TYPE_F32, single, wide, 2);
  CHECK(wide[0] == 0.1F && wide[1] == -7);
  widen(GGML_TYPE_F16, half, wide, 2);
  CHECK(wide[0] == 1 && wide[1] == -2);
}
