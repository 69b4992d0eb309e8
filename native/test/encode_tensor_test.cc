#include "gguf/encode_tensor.h"

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/tensor_type.h"
#include "check.h"
#include "decode.h"
#include "gguf_builder.h"
#include "random_numbers.h"

using gpt2::SourceTensor;
using gpt2::test::decode;
using gpt2::test::RandomNumbers;
using gpt2::test::raw;
namespace code = gpt2::code;

namespace {

std::vector<uint8_t> encodeTensor(const SourceTensor& source, ggml_type type,
                                  const gpt2::CancelFlag* cancelled = nullptr) {
  static gpt2::ThreadPool pool(3);
  return gpt2::encodeTensor(source, type, pool, cancelled);
}

SourceTensor source(const std::string& bytes, ggml_type type, int64_t rows, int64_t columns,
                    bool transpose) {
  return {
      reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), type, rows, columns, transpose};
}

// A number that identifies its row and column. Below 2^8, so exact in every float type.
float mark(int64_t row, int64_t column) { return static_cast<float>((row * 5 + column * 3) % 251); }

}  // namespace

TEST(keepsF32AsItIs) {
  const std::vector<float> numbers{1, -2.5F, 3e-20F, 4e20F, -0.0F, 0.1F};
  const std::string bytes = raw(numbers);
  const std::vector<uint8_t> encoded =
      encodeTensor(source(bytes, GGML_TYPE_F32, 2, 3, false), GGML_TYPE_F32);
  CHECK_EQUAL(std::string(encoded.begin(), encoded.end()), bytes);
}

// Bit patterns and values derived from the formats: 1 sign bit, 5 or 8 exponent bits, 10 or 7
// fraction bits.
TEST(widensF16) {
  const std::string bytes =
      raw(std::vector<uint16_t>{0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x8000});
  const std::vector<float> expected{1, -2, 0.333251953125F, 65504, 0x1p-24F, -0.0F};
  const auto encoded = encodeTensor(source(bytes, GGML_TYPE_F16, 1, 6, false), GGML_TYPE_F32);
  CHECK_EQUAL(std::string(encoded.begin(), encoded.end()), raw(expected));
}

TEST(widensBf16) {
  const std::string bytes =
      raw(std::vector<uint16_t>{0x3f80, 0xc000, 0x3eab, 0x7f7f, 0x0001, 0x8000});
  const std::vector<float> expected{1, -2, 0.333984375F, 0x1.fep127F, 0x1p-133F, -0.0F};
  const auto encoded = encodeTensor(source(bytes, GGML_TYPE_BF16, 3, 2, false), GGML_TYPE_F32);
  CHECK_EQUAL(std::string(encoded.begin(), encoded.end()), raw(expected));
}

// To the nearest, ties to even.
TEST(roundsToF16AndBf16) {
  const std::string bytes =
      raw(std::vector<float>{1 + 0x1p-11F, 1 + 0x3p-11F, 1 + 0x1.8p-10F, -1 - 0x1.1p-11F});
  CHECK(decode(encodeTensor(source(bytes, GGML_TYPE_F32, 1, 4, false), GGML_TYPE_F16),
               GGML_TYPE_F16,
               4) == (std::vector<float>{1, 1 + 0x1p-9F, 1 + 0x1p-9F, -1 - 0x1p-10F}));
  const std::string coarse =
      raw(std::vector<float>{1 + 0x1p-8F, 1 + 0x3p-8F, 1 + 0x1.8p-7F, -1 - 0x1.1p-8F});
  CHECK(decode(encodeTensor(source(coarse, GGML_TYPE_F32, 2, 2, false), GGML_TYPE_BF16),
               GGML_TYPE_BF16,
               4) == (std::vector<float>{1, 1 + 0x1p-6F, 1 + 0x1p-6F, -1 - 0x1p-7F}));
}

TEST(transposesMatricesOfAnyShape) {
  constexpr int64_t kShapes[][2] = {{1, 1},   {1, 7},   {7, 1},   {31, 33}, {32, 32}, {33, 31},
                                    {64, 65}, {65, 63}, {5, 100}, {100, 5}, {96, 32}};
  for (const auto& [rows, columns] : kShapes) {
    std::vector<float> numbers;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) numbers.push_back(mark(r, c));
    }
    const auto count = static_cast<size_t>(rows * columns);
    std::vector<uint8_t> half(count * 2);
    std::vector<uint8_t> brain(count * 2);
    ggml_fp32_to_fp16_row(numbers.data(), reinterpret_cast<ggml_fp16_t*>(half.data()),
                          rows * columns);
    ggml_fp32_to_bf16_row_ref(numbers.data(), reinterpret_cast<ggml_bf16_t*>(brain.data()),
                              rows * columns);
    const std::pair<ggml_type, std::string> sources[] = {
        {GGML_TYPE_F32, raw(numbers)},
        {GGML_TYPE_F16, std::string(half.begin(), half.end())},
        {GGML_TYPE_BF16, std::string(brain.begin(), brain.end())}};
    for (const auto& [type, bytes] : sources) {
      for (const ggml_type to : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
        CHECK(decode(encodeTensor(source(bytes, type, rows, columns, false), to), to, count) ==
              numbers);
        const std::vector<float> transposed =
            decode(encodeTensor(source(bytes, type, rows, columns, true), to), to, count);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < columns; ++c) {
            CHECK_EQUAL(transposed[static_cast<size_t>(c * rows + r)], mark(r, c));
          }
        }
      }
    }
  }
}

TEST(readsFromAnyAddress) {
  std::vector<float> numbers(105);  // 35 × 3
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) / 8;
  std::vector<uint16_t> half(numbers.size());
  ggml_fp32_to_fp16_row(numbers.data(), half.data(), static_cast<int64_t>(half.size()));
  for (size_t shift = 1; shift < 8; ++shift) {
    for (const bool isHalf : {false, true}) {
      const std::string bytes = std::string(shift, 'x') + (isHalf ? raw(half) : raw(numbers));
      SourceTensor tensor = source(bytes, isHalf ? GGML_TYPE_F16 : GGML_TYPE_F32, 35, 3, false);
      tensor.data += shift;
      tensor.byteSize -= shift;
      CHECK(decode(encodeTensor(tensor, GGML_TYPE_F32), GGML_TYPE_F32, numbers.size()) == numbers);
    }
  }
}

// Numbers from −1 to 1. A step is 1/127 of a block's largest number in q8_0, 1/8 in q4_0, 2/15 in
// q4_1, 1/16 in q5_0 and 2/31 in q5_1. The error is half a step, or a whole step where the codes
// are asymmetric (q4_0, q5_0: −8 … 7). f16 scales add 2^-11. K-quants quantise their scales as
// well, which about doubles the error.
TEST(quantisesWithinEachTypesError) {
  constexpr int64_t kRows = 4;
  constexpr int64_t kColumns = 512;
  const std::pair<ggml_type, double> kTypes[] = {
      {GGML_TYPE_Q8_0, 0.5 / 127 + 1e-3}, {GGML_TYPE_Q4_0, 1.0 / 8 + 1e-3},
      {GGML_TYPE_Q4_1, 1.0 / 15 + 1e-2},  {GGML_TYPE_Q5_0, 1.0 / 16 + 1e-3},
      {GGML_TYPE_Q5_1, 1.0 / 31 + 1e-2},  {GGML_TYPE_Q6_K, 2.0 / 32},
      {GGML_TYPE_Q5_K, 2.0 / 31},         {GGML_TYPE_Q4_K, 2.0 / 15},
      {GGML_TYPE_Q3_K, 2.0 / 4},          {GGML_TYPE_Q2_K, 2.0 / 3}};
  RandomNumbers random(17);
  std::vector<float> numbers;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    numbers.push_back(static_cast<float>(random.symmetric()));
  }
  // The same matrix, written column by column.
  std::vector<float> byColumn;
  for (int64_t c = 0; c < kColumns; ++c) {
    for (int64_t r = 0; r < kRows; ++r) {
      byColumn.push_back(numbers[static_cast<size_t>(r * kColumns + c)]);
    }
  }
  for (const auto& [type, tolerance] : kTypes) {
    const auto encoded =
        encodeTensor(source(raw(numbers), GGML_TYPE_F32, kRows, kColumns, false), type);
    const std::vector<float> decoded = decode(encoded, type, numbers.size());
    double squares = 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      CHECK_NEAR(decoded[i], numbers[i], tolerance);
      squares += std::pow(decoded[i] - numbers[i], 2);
    }
    CHECK(squares > 0);
    // Errors vary, so their root mean square is well below the bound.
    CHECK(std::sqrt(squares / static_cast<double>(numbers.size())) < 0.7 * tolerance);
    CHECK(encodeTensor(source(raw(byColumn), GGML_TYPE_F32, kColumns, kRows, true), type) ==
          encoded);
  }
}

TEST(rejectsBytesThatDoNotFitTheShape) {
  const std::string bytes(24, '\0');
  const auto encode = [&](ggml_type type, int64_t rows, int64_t columns) {
    return encodeTensor(source(bytes, type, rows, columns, false), GGML_TYPE_F32);
  };
  CHECK_EQUAL(encode(GGML_TYPE_F32, 2, 3).size(), 24U);
  CHECK_EQUAL(encode(GGML_TYPE_F16, 3, 4).size(), 48U);
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, 2, 2));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, 7, 1));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F16, 2, 3));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, 0, 6));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, 6, 0));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, -2, -3));
  CHECK_ERROR(code::kInvalidArgument, encode(GGML_TYPE_F32, int64_t{1} << 32, int64_t{1} << 32));
  CHECK_ERROR(code::kInvalidArgument,
              encodeTensor(source(bytes + "x", GGML_TYPE_F32, 2, 3, false), GGML_TYPE_F32));
  CHECK_ERROR(code::kInvalidArgument,
              encodeTensor(source("", GGML_TYPE_F32, 1, 1, false), GGML_TYPE_F32));
}

TEST(rejectsRowsThatDoNotFitTheBlocks) {
  const std::string bytes(sizeof(float) * 48 * 32, '\0');
  const auto encode = [&](int64_t rows, int64_t columns, bool transpose, ggml_type type) {
    return encodeTensor(source(bytes, GGML_TYPE_F32, rows, columns, transpose), type);
  };
  CHECK_EQUAL(encode(48, 32, false, GGML_TYPE_Q8_0).size(), 48U * 34);
  CHECK_EQUAL(encode(32, 48, true, GGML_TYPE_Q8_0).size(), 48U * 34);
  CHECK_ERROR(code::kInvalidArgument, encode(32, 48, false, GGML_TYPE_Q8_0));
  CHECK_ERROR(code::kInvalidArgument, encode(48, 32, true, GGML_TYPE_Q8_0));
  CHECK_ERROR(code::kInvalidArgument, encode(48, 32, false, GGML_TYPE_Q4_K));
}

// Without the check, ggml would end the process.
TEST(encodesInEveryTypeOrRejectsIt) {
  const std::string bytes(sizeof(float) * 256, '\0');
  int encoded = 0;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    if (ggml_blck_size(type) == 0) continue;  // removed from ggml
    const SourceTensor tensor = source(bytes, GGML_TYPE_F32, 1, 256, false);
    if (!gpt2::canEncode(type)) {
      CHECK_ERROR(code::kInvalidArgument, encodeTensor(tensor, type));
      continue;
    }
    CHECK_EQUAL(encodeTensor(tensor, type).size(), ggml_row_size(type, 256));
    ++encoded;
  }
  CHECK_EQUAL(encoded, 13);
}

TEST(rejectsNumbersThatTheTypeCannotHold) {
  const auto encode = [](float number, ggml_type type) {
    std::vector<float> numbers(32, 0.5F);
    numbers[7] = number;
    const std::string bytes = raw(numbers);
    return decode(encodeTensor(source(bytes, GGML_TYPE_F32, 1, 32, false), type), type, 32)[7];
  };
  constexpr float kLargestF16 = 65504;
  CHECK_EQUAL(encode(kLargestF16, GGML_TYPE_F16), kLargestF16);
  CHECK_EQUAL(encode(-kLargestF16, GGML_TYPE_F16), -kLargestF16);
  CHECK_EQUAL(encode(65519.F, GGML_TYPE_F16), kLargestF16);
  CHECK_EQUAL(encode(1e30F, GGML_TYPE_F32), 1e30F);
  CHECK_NEAR(encode(1e30F, GGML_TYPE_BF16), 1e30, 1e30 / 256);
  for (const float number : {65520.F, -65536.F, 1e30F, INFINITY, -INFINITY, NAN}) {
    CHECK_ERROR(code::kInvalidFile, encode(number, GGML_TYPE_F16));
  }
  // Numbers that are finite in f32 but round to infinity, and block scales beyond f16.
  CHECK_ERROR(code::kInvalidFile, encode(3.402e38F, GGML_TYPE_BF16));
  CHECK_ERROR(code::kInvalidFile, encode(1e7F, GGML_TYPE_Q8_0));
  CHECK_ERROR(code::kInvalidFile, encode(-1e6F, GGML_TYPE_Q4_0));
  for (const ggml_type type : {GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
    for (const float number : {INFINITY, -INFINITY, NAN}) {
      CHECK_ERROR(code::kInvalidFile, encode(number, type));
    }
  }
}

TEST(aCancelFlagStopsTheEncoding) {
  const std::string bytes(sizeof(float) * 256, '\0');
  const SourceTensor tensor = source(bytes, GGML_TYPE_F32, 1, 256, false);
  gpt2::CancelFlag cancelled{false};
  CHECK_EQUAL(encodeTensor(tensor, GGML_TYPE_Q4_K, &cancelled).size(), 144U);
  cancelled = true;
  CHECK_ERROR(code::kAborted, encodeTensor(tensor, GGML_TYPE_Q4_K, &cancelled));
}

// Threads encode different rows. No row depends on the others.
TEST(everyRowIsEncodedAsItIsAlone) {
  constexpr int64_t kRows = 1003;
  constexpr int64_t kColumns = 512;
  RandomNumbers random(3);
  std::vector<float> numbers;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    numbers.push_back(static_cast<float>(random.symmetric()));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_F16}) {
    const std::vector<uint8_t> whole = encodeTensor(
        {bytes, numbers.size() * sizeof(float), GGML_TYPE_F32, kRows, kColumns, false}, type);
    const size_t rowBytes = ggml_row_size(type, kColumns);
    CHECK_EQUAL(whole.size(), rowBytes * kRows);
    for (size_t row = 0; row < kRows; ++row) {
      const std::vector<uint8_t> one =
          encodeTensor({bytes + row * kColumns * sizeof(float), kColumns * sizeof(float),
                        GGML_TYPE_F32, 1, kColumns, false},
                       type);
      CHECK(std::equal(one.begin(), one.end(),
                       whole.begin() + static_cast<std::ptrdiff_t>(row * rowBytes)));
    }
  }
}

TEST(quantisedNumbersAreReencoded) {
  constexpr int64_t kCount = 256;
  std::vector<float> numbers;
  for (int i = 0; i < kCount; ++i) numbers.push_back(static_cast<float>(i - 128) / 128);
  const auto bytesOf = [](const std::vector<float>& from) {
    return reinterpret_cast<const uint8_t*>(from.data());
  };
  const std::vector<uint8_t> small = encodeTensor(
      {bytesOf(numbers), kCount * sizeof(float), GGML_TYPE_F32, 1, kCount, false}, GGML_TYPE_Q8_0);
  const std::vector<uint8_t> again =
      encodeTensor({small.data(), small.size(), GGML_TYPE_Q8_0, 1, kCount, false}, GGML_TYPE_F32);
  CHECK(decode(again, GGML_TYPE_F32, kCount) == decode(small, GGML_TYPE_Q8_0, kCount));
  const std::vector<int32_t> whole(kCount);
  CHECK_ERROR(code::kUnsupportedModel,
              encodeTensor({reinterpret_cast<const uint8_t*>(whole.data()),
                            kCount * sizeof(int32_t), GGML_TYPE_I32, 1, kCount, false},
                           GGML_TYPE_F16));
}
