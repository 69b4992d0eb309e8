#include "kernels/widen_row.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"

namespace {

// Widens `count` elements. Guard elements on both sides must not change.
std::vector<float> widened(ggml_type type, const std::vector<uint8_t>& bytes, size_t count) {
  std::vector<float> numbers(count + 2, 42.0F);
  gpt2::widenRow(type, bytes.data(), numbers.data() + 1, static_cast<int64_t>(count));
  CHECK_EQUAL(numbers.front(), 42.0F);
  CHECK_EQUAL(numbers.back(), 42.0F);
  return {numbers.begin() + 1, numbers.end() - 1};
}

}  // namespace

TEST(everyNumberInHalfPrecisionIsWidened) {
  std::vector<uint8_t> bytes;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    bytes.push_back(static_cast<uint8_t>(bits & 0xFFU));
    bytes.push_back(static_cast<uint8_t>(bits >> 8U));
  }
  const std::vector<float> found = widened(GGML_TYPE_F16, bytes, 65536);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    // IEEE 754: (−1)^s × 2^(e − 15) × 1.f; e = 0: 2^−14 × 0.f; e = 31: infinity or NaN.
    const auto exponent = static_cast<int>(bits >> 10U & 31U);
    const double fraction = static_cast<double>(bits & 1023U) / 1024;
    if (exponent == 31 && fraction != 0) {
      CHECK(std::isnan(found[bits]));
      continue;
    }
    double expected = exponent == 0    ? std::ldexp(fraction, -14)
                      : exponent == 31 ? HUGE_VAL
                                       : std::ldexp(1 + fraction, exponent - 15);
    if (bits >= 32768) expected = -expected;
    CHECK_EQUAL(found[bits], static_cast<float>(expected));
  }
}

TEST(rowsOfAnyLengthAreWidenedAsInGgml) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,
                               GGML_TYPE_Q5_1, GGML_TYPE_Q6_K}) {
    for (const int64_t blocks : {1, 2, 3, 7, 16, 19, 33}) {
      const int64_t count = blocks * ggml_blck_size(type);
      std::vector<uint8_t> bytes(ggml_row_size(type, count));
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 % 101);
      std::vector<float> expected(static_cast<size_t>(count));
      ggml_get_type_traits(type)->to_float(bytes.data(), expected.data(), count);
      CHECK(widened(type, bytes, expected.size()) == expected);
    }
  }
}
