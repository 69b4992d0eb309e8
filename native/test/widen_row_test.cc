#include "kernels/widen_row.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"

namespace {

// Scales in f16 and their values, worked out by hand: 1, −2, the smallest and the largest.
struct Scale {
  uint16_t bits;
  float value;
};
constexpr Scale kScales[] = {
    {0x3C00, 1.0F}, {0xC000, -2.0F}, {0x0001, 0x1p-24F}, {0x7BFF, 65504.0F}};

constexpr int64_t kBlock = 32;

void append(std::vector<uint8_t>& bytes, uint16_t number) {
  bytes.push_back(static_cast<uint8_t>(number & 0xFFU));
  bytes.push_back(static_cast<uint8_t>(number >> 8U));
}

// Widens `count` elements. Guard elements on both sides must not change.
std::vector<float> widened(ggml_type type, const std::vector<uint8_t>& bytes, size_t count) {
  std::vector<float> numbers(count + 2, 42.0F);
  gpt2::widenRow(type, bytes.data(), numbers.data() + 1, static_cast<int64_t>(count));
  CHECK_EQUAL(numbers.front(), 42.0F);
  CHECK_EQUAL(numbers.back(), 42.0F);
  return {numbers.begin() + 1, numbers.end() - 1};
}

}  // namespace

TEST(everyQ8ByteIsMultipliedByItsScale) {
  std::vector<uint8_t> bytes;
  std::vector<float> expected;
  for (const Scale& scale : kScales) {
    for (int first = -128; first < 128; first += kBlock) {
      append(bytes, scale.bits);
      for (int number = first; number < first + kBlock; ++number) {
        bytes.push_back(static_cast<uint8_t>(number));
        expected.push_back(static_cast<float>(number) * scale.value);
      }
    }
  }
  const std::vector<float> found = widened(GGML_TYPE_Q8_0, bytes, expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], expected[i]);
}

TEST(bothHalvesOfEveryQ4ByteAreMultipliedByTheirScale) {
  constexpr int kHalf = kBlock / 2;
  std::vector<uint8_t> bytes;
  std::vector<float> expected;
  for (const Scale& scale : kScales) {
    for (int first = 0; first < 256; first += kHalf) {
      append(bytes, scale.bits);
      for (int i = 0; i < kHalf; ++i) bytes.push_back(static_cast<uint8_t>(first + i));
      for (int i = 0; i < kHalf; ++i) {
        expected.push_back(static_cast<float>((first + i) % 16 - 8) * scale.value);
      }
      for (int i = 0; i < kHalf; ++i) {
        expected.push_back(static_cast<float>((first + i) / 16 - 8) * scale.value);
      }
    }
  }
  const std::vector<float> found = widened(GGML_TYPE_Q4_0, bytes, expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], expected[i]);
}

TEST(aNanScaleGivesNan) {
  std::vector<uint8_t> bytes;
  append(bytes, 0x7E00);
  bytes.resize(2 + kBlock, 1);
  for (const float number : widened(GGML_TYPE_Q8_0, bytes, kBlock)) CHECK(std::isnan(number));
}

TEST(otherTypesAreWidenedAsInGgml) {
  for (const ggml_type type : {GGML_TYPE_Q5_1, GGML_TYPE_Q6_K, GGML_TYPE_BF16}) {
    constexpr int64_t kCount = 512;
    std::vector<uint8_t> bytes(ggml_row_size(type, kCount));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 % 101);
    std::vector<float> expected(kCount);
    ggml_get_type_traits(type)->to_float(bytes.data(), expected.data(), kCount);
    const std::vector<float> found = widened(type, bytes, kCount);
    CHECK_EQUAL(std::memcmp(found.data(), expected.data(), kCount * sizeof(float)), 0);
  }
}
