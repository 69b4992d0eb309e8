#include "gguf/write_gguf.h"

#include <ggml.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "decode.h"
#include "gguf/normal_numbers.h"
#include "gguf_builder.h"
#include "random_numbers.h"
#include "reference_model.h"
#include "temporary_folder.h"

using gpt2::CancelFlag;
using gpt2::InputFile;
using gpt2::TensorPart;
using gpt2::TensorTarget;
using gpt2::test::decode;
using gpt2::test::RandomNumbers;
using gpt2::test::raw;
using gpt2::test::readFile;
using gpt2::test::ReferenceModel;
using gpt2::test::TemporaryFile;
using gpt2::test::TemporaryFolder;
namespace code = gpt2::code;

namespace {

constexpr uint64_t kChunkBytes = uint64_t{8} << 20;

// Multiples of 1/128 in [-1, 1), which are exact in f32, f16 and bf16.
std::vector<float> coarseNumbers(size_t count) {
  RandomNumbers random(5);
  std::vector<float> numbers;
  for (size_t i = 0; i < count; ++i) {
    numbers.push_back(static_cast<float>(static_cast<int>(random.below(256)) - 128) / 128);
  }
  return numbers;
}

// The bytes of such numbers in one of these three types, derived from the bits of f32.
std::string bytesIn(ggml_type type, const std::vector<float>& numbers) {
  if (type == GGML_TYPE_F32) {
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)};
  }
  std::string bytes;
  bytes.reserve(2 * numbers.size());
  for (const float number : numbers) {
    uint32_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    auto half = static_cast<uint16_t>(bits >> 16U);
    if (type == GGML_TYPE_F16 && number != 0) {
      // A fraction of ten bits, and an exponent with a bias of 15 instead of 127.
      const uint32_t exponent = (bits >> 23U & 0xffU) - 127 + 15;
      half =
          static_cast<uint16_t>((bits >> 16U & 0x8000U) | exponent << 10U | (bits >> 13U & 0x3ffU));
    }
    bytes += raw(half);
  }
  return bytes;
}

template <typename T>
std::vector<T> transposed(const std::vector<T>& matrix, size_t rows, size_t columns) {
  std::vector<T> result;
  result.reserve(matrix.size());
  for (size_t c = 0; c < columns; ++c) {
    for (size_t r = 0; r < rows; ++r) result.push_back(matrix[r * columns + c]);
  }
  return result;
}

std::vector<uint8_t> toHeader(const std::string& bytes) { return {bytes.begin(), bytes.end()}; }

TensorTarget zeros(int64_t count) { return {"zeros", GGML_TYPE_F32, gpt2::EqualNumbers{0, count}}; }

// A file with the sources of tensors, and a folder for the result.
struct Conversion {
  explicit Conversion(const std::string& bytes)
      : sourcePath(bytes), source(std::make_shared<const InputFile>(sourcePath.path())) {}

  std::vector<TensorPart> part(ggml_type from, int64_t rows, int64_t columns, bool transpose,
                               uint64_t offset) const {
    return {{source, offset, from, rows, columns, transpose, columns, 1}};
  }
  // A tensor of rows × columns of the source at `offset`.
  TensorTarget tensor(ggml_type from, ggml_type to, int64_t rows, int64_t columns,
                      bool transpose = false, uint64_t offset = 0) const {
    return {"blk.0.some.weight", to, part(from, rows, columns, transpose, offset)};
  }
  void run(const std::vector<TensorTarget>& tensors, const std::string& header = "",
           const CancelFlag* cancelled = nullptr) {
    progress.clear();
    gpt2::writeGguf(
        path(), toHeader(header), tensors, threads,
        [this](uint64_t done) {
          progress.push_back(done);
          if (onProgress) onProgress();
        },
        cancelled);
  }
  std::string path() const { return folder.path("model.gguf"); }
  std::string result() const {
    CHECK(folder.names() == std::vector<std::string>{"model.gguf"});
    return readFile(path());
  }
  // Progress rises to the total, by at most a chunk or a row at a time.
  void checkProgress(uint64_t total, uint64_t rowBytes) const {
    uint64_t before = 0;
    for (const uint64_t done : progress) {
      CHECK(done > before);
      CHECK(done - before <= std::max(kChunkBytes, rowBytes));
      before = done;
    }
    CHECK_EQUAL(before, total);
  }
  // Returns the error's message. The error must have this code and leave no file.
  std::string refusal(const char* code, const std::vector<TensorTarget>& tensors,
                      const CancelFlag* cancelled = nullptr) {
    std::string message = "no error";
    try {
      run(tensors, "header", cancelled);
    } catch (const gpt2::Error& error) {
      CHECK_EQUAL(std::string(error.code()), code);
      message = error.what();
    }
    CHECK(message != "no error");
    CHECK(folder.names().empty());
    return message;
  }

  TemporaryFile sourcePath;
  std::shared_ptr<const InputFile> source;
  TemporaryFolder folder;
  int threads = 0;
  std::vector<uint64_t> progress;
  std::function<void()> onProgress;
};

}  // namespace

// In f32 and f16; as stored and transposed; in one part and in two.
TEST(theFirstNumbersAreMultiplied) {
  constexpr size_t kRows = 6;
  constexpr size_t kColumns = 8;
  const std::vector<float> numbers = coarseNumbers(kRows * kColumns);
  Conversion conversion(bytesIn(GGML_TYPE_F16, numbers));
  for (const ggml_type to : {GGML_TYPE_F32, GGML_TYPE_F16}) {
    for (const bool transpose : {false, true}) {
      std::vector<float> expected = transpose ? transposed(numbers, kRows, kColumns) : numbers;
      for (size_t i = 0; i < 10; ++i) expected[i] *= 0.5F;
      TensorTarget target = conversion.tensor(GGML_TYPE_F16, to, kRows, kColumns, transpose);
      target.scale = {0.5F, 10};
      conversion.run({target});
      // 6 × 8 numbers of f16 and of f32 are whole blocks of 32 bytes.
      CHECK(conversion.result() == bytesIn(to, expected));
    }
  }
  std::vector<float> expected = numbers;
  for (size_t i = 0; i < 26; ++i) expected[i] *= 2;
  TensorTarget target = conversion.tensor(GGML_TYPE_F16, GGML_TYPE_F32, 3, kColumns);
  auto& parts = std::get<std::vector<TensorPart>>(target.numbers);
  parts.push_back(conversion.part(GGML_TYPE_F16, 3, kColumns, false, 2 * 3 * kColumns).front());
  target.scale = {2, 26};
  conversion.run({target});
  CHECK(conversion.result() == bytesIn(GGML_TYPE_F32, expected));
}

TEST(aProductThatTheTypeCannotHoldIsRejectedWithTheTensorsName) {
  Conversion conversion(bytesIn(GGML_TYPE_F32, std::vector<float>(32, 1)));
  TensorTarget target = conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F16, 1, 32);
  target.scale = {1e5F, 1};
  CHECK(conversion.refusal(code::kInvalidFile, {target}).find("blk.0.some.weight") !=
        std::string::npos);
}

// Small whole numbers, whose products and sums are exact in f32.
std::vector<float> wholeNumbers(size_t count, uint32_t seed) {
  RandomNumbers random(seed);
  std::vector<float> numbers;
  for (size_t i = 0; i < count; ++i) {
    numbers.push_back(static_cast<float>(static_cast<int>(random.below(15)) - 7));
  }
  return numbers;
}

// Two updates of different ranks of a tensor in two parts, one of them over both parts; stored as
// they are and transposed; then a scale. Compared with sums written out.
TEST(updatesOfLowRankAreAdded) {
  constexpr size_t kRows = 300;
  constexpr size_t kColumns = 40;
  constexpr size_t kFirstRow = 64;
  constexpr size_t kRank = 3;
  const std::vector<float> base = wholeNumbers(kRows * kColumns, 1);
  const std::vector<float> left = wholeNumbers((kRows - kFirstRow) * kRank, 2);
  const std::vector<float> right = wholeNumbers(kRank * kColumns, 3);
  const std::vector<float> leftVector = wholeNumbers(kRows, 4);
  const std::vector<float> rightVector = wholeNumbers(kColumns, 5);
  std::vector<float> expected = base;
  for (size_t row = 0; row < kRows; ++row) {
    for (size_t column = 0; column < kColumns; ++column) {
      float& number = expected[row * kColumns + column];
      if (row >= kFirstRow) {
        float sum = 0;
        for (size_t i = 0; i < kRank; ++i) {
          sum += left[(row - kFirstRow) * kRank + i] * right[i * kColumns + column];
        }
        number += 0.5F * sum;
      }
      number -= 2 * leftVector[row] * rightVector[column];
      if (row < 2) number *= 4;
    }
  }
  for (const bool transpose : {false, true}) {
    std::string bytes;
    const auto add = [&](const std::vector<float>& numbers, size_t rows, size_t columns) {
      bytes += bytesIn(GGML_TYPE_F32, transpose ? transposed(numbers, rows, columns) : numbers);
    };
    constexpr size_t kHalf = kRows / 2;
    const auto half = base.begin() + kHalf * kColumns;
    add({base.begin(), half}, kHalf, kColumns);
    add({half, base.end()}, kHalf, kColumns);
    add(left, kRows - kFirstRow, kRank);
    add(right, kRank, kColumns);
    add(leftVector, kRows, 1);
    add(rightVector, 1, kColumns);
    Conversion conversion(bytes);
    uint64_t offset = 0;
    const auto next = [&](size_t rows, size_t columns) {
      const TensorPart part =
          conversion
              .part(GGML_TYPE_F32, static_cast<int64_t>(transpose ? columns : rows),
                    static_cast<int64_t>(transpose ? rows : columns), transpose, offset)
              .front();
      offset += rows * columns * sizeof(float);
      return part;
    };
    TensorTarget target{"blk.0.some.weight", GGML_TYPE_F32,
                        std::vector<TensorPart>{next(kHalf, kColumns), next(kHalf, kColumns)}};
    const TensorPart leftPart = next(kRows - kFirstRow, kRank);
    target.updates.push_back({leftPart, next(kRank, kColumns), 0.5F, kFirstRow});
    const TensorPart vectorPart = next(kRows, 1);
    target.updates.push_back({vectorPart, next(1, kColumns), -2, 0});
    target.scale = {4, 2 * kColumns};
    for (const int threads : {1, 3}) {
      conversion.threads = threads;
      conversion.run({target});
      CHECK(conversion.result() == bytesIn(GGML_TYPE_F32, expected));
    }
    CHECK_EQUAL(conversion.progress.back(), offset);
  }
}

TEST(updatesThatDoNotFitAreRejected) {
  Conversion conversion(bytesIn(GGML_TYPE_F32, std::vector<float>(64, 1)));
  const auto part = [&](int64_t rows, int64_t columns) {
    return conversion.part(GGML_TYPE_F32, rows, columns, false, 0).front();
  };
  const auto refusal = [&](const gpt2::LowRankUpdate& update) {
    TensorTarget target = conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, 6, 8);
    target.updates.push_back(update);
    return conversion.refusal(code::kInvalidArgument, {target});
  };
  CHECK_EQUAL(refusal({part(6, 2), part(2, 7), 1, 0}),
              "the tensor \"blk.0.some.weight\": expected an update of its 6 rows but received "
              "[6, 2] × [2, 7] from row 0");
  refusal({part(6, 2), part(3, 8), 1, 0});
  refusal({part(6, 2), part(2, 8), 1, 1});
  refusal({part(7, 2), part(2, 8), 1, 0});
  refusal({part(6, 2), part(2, 8), 1, -1});
  refusal({part(6, 0), part(0, 8), 1, 0});
  // Their numbers would not be within the file.
  TensorPart far = part(6, 2);
  far.rowStride = int64_t{1} << 60;
  refusal({far, part(2, 8), 1, 0});
}

TEST(anUpdateBeyondTheEndOfItsFileIsUnreadable) {
  Conversion conversion(bytesIn(GGML_TYPE_F32, std::vector<float>(64, 1)));
  TensorTarget target = conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, 6, 8);
  const TensorPart left = conversion.part(GGML_TYPE_F32, 6, 10, false, 0).front();
  target.updates.push_back({left, conversion.part(GGML_TYPE_F32, 10, 8, false, 0).front(), 1, 0});
  conversion.refusal(code::kFileUnreadable, {target});
}

// A model file is its header and its tensors, each padded to 32 bytes. Here the checkpoint stores
// every matrix transposed.
TEST(writesTheFileOfAModel) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
    ReferenceModel numbers({61, 33, 32, 4, 2});
    ReferenceModel encoded = numbers;
    encoded.encodeMatrices(type);
    std::string checkpoint = "nine byte";
    std::vector<size_t> offsets;
    size_t dataBytes = 0;
    for (const auto& [name, tensor] : numbers.tensors()) {
      offsets.push_back(checkpoint.size());
      std::vector<float> values(tensor.values.begin(), tensor.values.end());
      if (tensor.out != 0) values = transposed(values, tensor.out, tensor.in);
      checkpoint += raw(values);
      dataBytes += (encoded.tensor(name).bytes.size() + 31) / 32 * 32;
    }
    std::string expected = encoded.file();
    expected.resize((expected.size() + 31) / 32 * 32);

    Conversion conversion(checkpoint);
    std::vector<TensorTarget> targets;
    for (const auto& [name, tensor] : encoded.tensors()) {
      const bool isMatrix = tensor.out != 0;
      targets.push_back(conversion.tensor(GGML_TYPE_F32, tensor.type,
                                          static_cast<int64_t>(isMatrix ? tensor.in : 1),
                                          static_cast<int64_t>(isMatrix ? tensor.out : tensor.in),
                                          isMatrix, offsets[targets.size()]));
    }
    conversion.run(targets, expected.substr(0, expected.size() - dataBytes));
    CHECK(conversion.result() == expected);
    conversion.checkProgress(checkpoint.size() - 9, 0);
  }
}

TEST(concatenatesTheRowsOfParts) {
  constexpr int64_t kColumns = 64;
  const std::vector<float> numbers = coarseNumbers(6 * kColumns);
  Conversion conversion(bytesIn(GGML_TYPE_F32, numbers));
  // Four rows, and two that are stored transposed before them.
  const uint64_t twoRows = 2 * kColumns * sizeof(float);
  std::vector<TensorPart> parts = conversion.part(GGML_TYPE_F32, 4, kColumns, false, twoRows);
  parts.push_back(conversion.part(GGML_TYPE_F32, kColumns, 2, true, 0)[0]);
  TensorTarget target{"blk.0.some.weight", GGML_TYPE_F32, parts};
  conversion.run({target});
  const std::vector<float> first(numbers.begin(), numbers.begin() + 2 * kColumns);
  const std::string rows = bytesIn(GGML_TYPE_F32, numbers).substr(twoRows);
  CHECK(conversion.result() ==
        rows + bytesIn(GGML_TYPE_F32, transposed(first, kColumns, size_t{2})));
  conversion.checkProgress(numbers.size() * sizeof(float), 0);

  target.type = GGML_TYPE_Q8_0;
  conversion.run({target});
  const std::string padded = conversion.result();
  const std::vector<float> found =
      decode(padded.substr(0, 6 * ggml_row_size(GGML_TYPE_Q8_0, kColumns)), GGML_TYPE_Q8_0,
             numbers.size());
  for (size_t i = 0; i < 4 * kColumns; ++i) CHECK_NEAR(found[i], numbers[i + 2 * kColumns], 0.005);
}

// Rows 3 apart and columns 2 apart, in a matrix of other numbers; and expanded rows and columns.
TEST(readsNumbersByTheirStrides) {
  constexpr int64_t kRows = 30;
  constexpr int64_t kColumns = 32;
  const std::vector<float> stored = coarseNumbers(kRows * 3 * kColumns * 2);
  const std::pair<int64_t, int64_t> strides[] = {
      {3 * kColumns * 2, 2}, {0, 1}, {1, 0}, {0, 0}, {1, 1}, {2 * kColumns, 1}};
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_F64}) {
    const std::vector<double> doubles(stored.begin(), stored.end());
    Conversion conversion(type == GGML_TYPE_F64 ? raw(doubles) : bytesIn(type, stored));
    for (const auto& [rowStride, columnStride] : strides) {
      std::vector<float> expected;
      for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t column = 0; column < kColumns; ++column) {
          expected.push_back(stored[static_cast<size_t>(row * rowStride + column * columnStride)]);
        }
      }
      for (const bool transpose : {false, true}) {
        TensorPart part = conversion.part(type, kRows, kColumns, transpose, 0)[0];
        part.rowStride = rowStride;
        part.columnStride = columnStride;
        conversion.run({{"w", GGML_TYPE_F32, std::vector<TensorPart>{part}}});
        CHECK(conversion.result() ==
              bytesIn(GGML_TYPE_F32, transpose
                                         ? transposed(expected, size_t{kRows}, size_t{kColumns})
                                         : expected));
      }
    }
  }
}

TEST(rejectsStridesThatLeadOutOfTheFile) {
  Conversion conversion(std::string(1024, '\0'));
  constexpr int64_t kHuge = int64_t{1} << 62U;
  const std::pair<int64_t, int64_t> strides[] = {{-8, 1},    {8, -1},        {kHuge, 1},
                                                 {8, kHuge}, {kHuge, kHuge}, {300, 1}};
  for (const auto& [rowStride, columnStride] : strides) {
    TensorPart part = conversion.part(GGML_TYPE_F32, 8, 8, false, 0)[0];
    part.rowStride = rowStride;
    part.columnStride = columnStride;
    conversion.refusal(code::kInvalidArgument,
                       {{"w", GGML_TYPE_F32, std::vector<TensorPart>{part}}});
  }
}

// A stride of 0 repeats numbers, so the file does not limit their count. Here 8 bytes for each
// would be 2^64 and a little.
TEST(rejectsMoreNumbersThanMemoryCanAddress) {
  Conversion conversion(std::string(1024, '\0'));
  for (const bool transpose : {false, true}) {
    TensorPart part = conversion.part(GGML_TYPE_F64, 8, 8, transpose, 0)[0];
    part.rows = part.columns = 1'518'500'250;
    part.rowStride = part.columnStride = 0;
    conversion.refusal(code::kInvalidArgument,
                       {{"w", GGML_TYPE_F32, std::vector<TensorPart>{part}}});
  }
}

TEST(roundsF64ToTheNearestF32) {
  // Half a unit in the last place rounds to even; FLT_MAX and numbers that round to it fit.
  const std::vector<double> numbers = {
      1.0 + std::ldexp(1.0, -24), 1.0 + std::ldexp(3.0, -24), 0.1, -1e-50, 3.4028235e38,
      -3.40282350000001e38};
  const std::vector<float> expected = {
      1.0F, 1.0F + std::ldexp(1.0F, -22), 0.1F, -0.0F, 3.4028235e38F, -3.4028235e38F};
  Conversion conversion(raw(numbers));
  conversion.run({conversion.tensor(GGML_TYPE_F64, GGML_TYPE_F32, 1, 6)});
  CHECK(conversion.result().substr(0, 24) == raw(expected));
  for (const double number :
       {3.5e38, -1e300, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    Conversion tooLarge(raw(std::vector<double>{number}));
    const std::string message =
        tooLarge.refusal(code::kInvalidFile, {tooLarge.tensor(GGML_TYPE_F64, GGML_TYPE_F32, 1, 1)});
    CHECK(message.find("not finite in f32") != std::string::npos);
  }
}

TEST(drawsTheNumbersOfASeedInAnyType) {
  constexpr int64_t kRows = 5000;  // in several chunks
  constexpr int64_t kColumns = 512;
  std::vector<float> expected(kRows * kColumns);
  gpt2::drawNormal(gpt2::streamSeed(9, 4), 0, expected.size(), 0.5, expected.data());
  Conversion conversion("");
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
    conversion.run({{"w", type, gpt2::DrawnNumbers{9, 4, 0.5, kRows, kColumns}}});
    const std::vector<float> found = decode(conversion.result(), type, expected.size());
    const double most = type == GGML_TYPE_F32 ? 0 : 0.02;
    for (size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], most);
    conversion.checkProgress(expected.size() * sizeof(float), 0);
  }
}

TEST(writesEqualNumbers) {
  Conversion conversion("");
  conversion.run({{"ones", GGML_TYPE_F32, gpt2::EqualNumbers{1, 3}}, zeros(2)});
  const std::string bytes =
      bytesIn(GGML_TYPE_F32, {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(conversion.result() == bytes);
}

// Errors as in encode_tensor_test.cc, for numbers of at most 1.
TEST(numbersSurviveInEveryType) {
  constexpr size_t kRows = 256;
  constexpr size_t kColumns = 512;
  const std::pair<ggml_type, double> kTypes[] = {{GGML_TYPE_F32, 0},
                                                 {GGML_TYPE_F16, 0},
                                                 {GGML_TYPE_BF16, 0},
                                                 {GGML_TYPE_Q8_0, 0.5 / 127 + 1e-3},
                                                 {GGML_TYPE_Q6_K, 2.0 / 32},
                                                 {GGML_TYPE_Q5_K, 2.0 / 31},
                                                 {GGML_TYPE_Q5_1, 1.0 / 31 + 1e-2},
                                                 {GGML_TYPE_Q5_0, 1.0 / 16 + 1e-3},
                                                 {GGML_TYPE_Q4_K, 2.0 / 15},
                                                 {GGML_TYPE_Q4_1, 1.0 / 15 + 1e-2},
                                                 {GGML_TYPE_Q4_0, 1.0 / 8 + 1e-3}};
  const std::vector<float> numbers = coarseNumbers(kRows * kColumns);
  const std::vector<float> swapped = transposed(numbers, kRows, kColumns);
  for (const ggml_type from : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
    Conversion conversion("xyz" + bytesIn(from, numbers));
    for (const auto& [to, tolerance] : kTypes) {
      for (const bool transpose : {false, true}) {
        conversion.run({conversion.tensor(from, to, kRows, kColumns, transpose, 3)});
        const std::vector<float> decoded = decode(conversion.result(), to, numbers.size());
        const std::vector<float>& expected = transpose ? swapped : numbers;
        for (size_t i = 0; i < numbers.size(); ++i) {
          CHECK_NEAR(decoded[i], expected[i], tolerance);
        }
        conversion.checkProgress(numbers.size() * ggml_type_size(from), 0);
      }
    }
  }
}

// The encoder takes 65,536 numbers at a time, the writer 8 MiB. The last chunk of each is shorter.
TEST(writesTensorsOfMoreThanOneChunk) {
  constexpr size_t kColumns = 992;
  constexpr size_t kRows = 5000;
  const std::vector<float> numbers = coarseNumbers(kRows * kColumns);
  Conversion conversion(bytesIn(GGML_TYPE_F32, numbers));
  for (const bool transpose : {false, true}) {
    conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_BF16, kRows, kColumns, transpose)});
    CHECK(conversion.result() ==
          bytesIn(GGML_TYPE_BF16, transpose ? transposed(numbers, kRows, kColumns) : numbers));
    if (transpose) {
      CHECK(conversion.progress == std::vector<uint64_t>{numbers.size() * sizeof(float)});
    } else {
      CHECK_EQUAL(conversion.progress.size(), 3U);
      conversion.checkProgress(numbers.size() * sizeof(float), 0);
    }
  }
  conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, kRows, kColumns)});
  CHECK(conversion.result() == bytesIn(GGML_TYPE_F32, numbers));
}

TEST(writesRowsOfMoreThanOneChunk) {
  constexpr size_t kColumns = kChunkBytes / sizeof(float) + 512;
  constexpr size_t kRows = 2;
  const std::vector<float> numbers = coarseNumbers(kRows * kColumns);
  Conversion conversion(bytesIn(GGML_TYPE_F32, numbers));
  conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_Q8_0, kRows, kColumns)});
  const std::vector<float> decoded = decode(conversion.result(), GGML_TYPE_Q8_0, numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    CHECK_NEAR(decoded[i], numbers[i], 0.5 / 127 + 1e-3);
  }
  CHECK_EQUAL(conversion.progress.size(), 2U);
  conversion.checkProgress(numbers.size() * sizeof(float), kColumns * sizeof(float));
}

TEST(padsTensorsWithZeros) {
  const std::string bytes = "0123456789abcdef0123456789abcdefghij";
  Conversion conversion(bytes);
  const auto f32 = [&](int64_t columns) {
    return conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, 1, columns);
  };
  conversion.run({f32(1), f32(8), f32(9), zeros(3), f32(7)}, std::string(64, 'h'));
  CHECK_EQUAL(conversion.result(), std::string(64, 'h') + "0123" + std::string(28, '\0') +
                                       bytes.substr(0, 32) + bytes + std::string(28, '\0') +
                                       std::string(32, '\0') + bytes.substr(0, 28) +
                                       std::string(4, '\0'));
  CHECK((conversion.progress == std::vector<uint64_t>{4, 36, 72, 100}));  // zeros do not count
}

#ifdef __linux__

std::ptrdiff_t threadsOfThisProcess() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

// Counted between two chunks, since the threads are started once per file.
TEST(startsTheGivenNumberOfThreads) {
  constexpr int64_t kRows = 5000;
  constexpr int64_t kColumns = 1024;
  Conversion conversion(bytesIn(GGML_TYPE_F32, coarseNumbers(kRows * kColumns)));
  const auto before = threadsOfThisProcess();
  for (const int threads : {1, 2, 7}) {
    conversion.threads = threads;
    conversion.onProgress = [&] { CHECK_EQUAL(threadsOfThisProcess(), before + threads - 1); };
    conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F16, kRows, kColumns)});
    CHECK_EQUAL(conversion.progress.size(), 3U);
    CHECK_EQUAL(threadsOfThisProcess(), before);
  }
}

#endif

TEST(theBytesDoNotDependOnTheNumberOfThreads) {
  constexpr int64_t kSide = 1536;
  Conversion conversion(bytesIn(GGML_TYPE_F32, coarseNumbers(kSide * kSide)));
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
    for (const bool transpose : {false, true}) {
      const std::vector<TensorTarget> tensors{
          conversion.tensor(GGML_TYPE_F32, type, kSide, kSide, transpose)};
      conversion.threads = 1;
      conversion.run(tensors);
      const std::string expected = conversion.result();
      for (const int threads : {2, 5}) {
        conversion.threads = threads;
        conversion.run(tensors);
        CHECK(conversion.result() == expected);
      }
    }
  }
}

TEST(writesAnyNumberOfZeros) {
  Conversion conversion("");
  conversion.run({zeros(5000)});
  CHECK_EQUAL(conversion.result(), std::string(20000, '\0'));
  CHECK(conversion.progress.empty());
}

TEST(aCancelFlagSetBeforehandKeepsTheExistingFile) {
  Conversion conversion("bytes123");
  const auto tensor = conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, 1, 2);
  conversion.run({tensor});
  const CancelFlag cancelled{true};
  CHECK_ERROR(code::kAborted, conversion.run({tensor}, "", &cancelled));
  CHECK_EQUAL(conversion.result(), "bytes123" + std::string(24, '\0'));
}

TEST(aCancelFlagStopsTheWritingAfterAnyChunk) {
  constexpr int64_t kColumns = 1024;
  constexpr int64_t kRows = 4500;  // 2,048 at a time
  Conversion conversion(std::string(kRows * kColumns * sizeof(float), '\0'));
  const auto tensor = conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F32, kRows, kColumns);
  for (const size_t chunk : {1U, 2U, 3U}) {
    CancelFlag cancelled{false};
    conversion.onProgress = [&] { cancelled = conversion.progress.size() == chunk; };
    conversion.refusal(code::kAborted, {tensor}, &cancelled);
    CHECK_EQUAL(conversion.progress.size(), chunk);
  }
}

// Another thread sets the flag once the file exists. Encoding the matrix takes half a second.
TEST(aCancelFlagStopsTheEncodingOfATensor) {
  constexpr int64_t kSide = 2048;
  Conversion conversion(bytesIn(GGML_TYPE_F32, coarseNumbers(kSide * kSide)));
  CancelFlag cancelled{false};
  std::thread canceller([&] {
    const auto wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
    while (conversion.folder.names().empty()) wait();
    wait();
    cancelled = true;
  });
  std::string message;
  try {
    message = conversion.refusal(
        code::kAborted, {conversion.tensor(GGML_TYPE_F32, GGML_TYPE_Q4_K, kSide, kSide, true)},
        &cancelled);
  } catch (const std::exception& error) {
    message = error.what();
  }
  canceller.join();
  CHECK_EQUAL(message, "the work was stopped");
  CHECK(conversion.progress.empty());
}

TEST(aSourceThatIsTooShortIsUnreadable) {
  Conversion conversion(std::string(100, '\0'));
  conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F16, 5, 5)});
  std::filesystem::remove(conversion.path());
  for (const bool transpose : {false, true}) {
    const auto refused = [&](int64_t rows, uint64_t offset) {
      const std::string message = conversion.refusal(
          code::kFileUnreadable,
          {conversion.tensor(GGML_TYPE_F32, GGML_TYPE_F16, rows, 5, transpose, offset)});
      CHECK(message.find(conversion.sourcePath.path()) == 0);
    };
    refused(6, 0);
    refused(5, 1);
    refused(1, 100);
    refused(1, uint64_t{1} << 60U);
  }
}

#ifndef _WIN32
TEST(aSourceThatIsTruncatedMeanwhileIsUnreadable) {
  constexpr int64_t kColumns = 1024;
  constexpr int64_t kRows = 4000;
  Conversion conversion(std::string(kRows * kColumns * sizeof(float), '\0'));
  conversion.onProgress = [&] {
    std::filesystem::resize_file(conversion.sourcePath.path(), kChunkBytes + 100);
  };
  conversion.refusal(code::kFileUnreadable,
                     {conversion.tensor(GGML_TYPE_F32, GGML_TYPE_BF16, kRows, kColumns)});
  CHECK_EQUAL(conversion.progress.size(), 1U);
}
#else
TEST(aSourceThatIsTruncatedMeanwhileIsUnreadable) {
  SKIP("Windows does not let others change an open file");
}
#endif

TEST(namesATensorWithNumbersThatItsTypeCannotHold) {
  std::vector<float> numbers(256 * 3, 0.5F);
  const auto message = [&](float number, ggml_type type) {
    numbers[600] = number;
    Conversion conversion(raw(numbers));
    const std::string text =
        conversion.refusal(code::kInvalidFile, {conversion.tensor(GGML_TYPE_F32, type, 3, 256)});
    CHECK(text.find(conversion.sourcePath.path()) == 0);
    CHECK(text.find("\"blk.0.some.weight\"") != std::string::npos);
    return text;
  };
  for (const float number : {NAN, INFINITY, -INFINITY}) {
    for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
      CHECK(message(number, type).find("f32") != std::string::npos);
    }
  }
  CHECK(message(1e6F, GGML_TYPE_F16).find("f16") != std::string::npos);
  CHECK(message(1e9F, GGML_TYPE_Q4_0).find("q4_0") != std::string::npos);
}

TEST(namesATensorWithRowsOfBrokenBlocks) {
  Conversion conversion(std::string(48 * 32 * sizeof(float), '\0'));
  const std::string message = conversion.refusal(
      code::kInvalidArgument, {conversion.tensor(GGML_TYPE_F32, GGML_TYPE_Q8_0, 32, 48)});
  CHECK(message.find("\"blk.0.some.weight\"") != std::string::npos);
  conversion.run({conversion.tensor(GGML_TYPE_F32, GGML_TYPE_Q8_0, 32, 48, true)});
  CHECK_EQUAL(conversion.result().size(), 48U * 34);
}

TEST(rejectsImpossibleShapes) {
  Conversion conversion(std::string(1024, '\0'));
  constexpr int64_t kHuge = int64_t{1} << 32U;
  const std::pair<int64_t, int64_t> shapes[] = {{0, 32},     {32, 0},     {-1, 32},      {32, -1},
                                                {kHuge, 32}, {32, kHuge}, {kHuge, kHuge}};
  for (const auto& [rows, columns] : shapes) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
      conversion.refusal(code::kInvalidArgument,
                         {conversion.tensor(type, GGML_TYPE_F32, rows, columns)});
      conversion.refusal(code::kInvalidArgument, {conversion.tensor(type, type, rows, columns)});
    }
    conversion.refusal(code::kInvalidArgument,
                       {{"w", GGML_TYPE_F32, gpt2::DrawnNumbers{1, 1, 1, rows, columns}}});
  }
  conversion.refusal(code::kInvalidArgument,
                     {conversion.tensor(GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, 1, 33)});
}

TEST(aPathThatCannotBeWrittenIsAnError) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& path) {
    gpt2::writeGguf(
        path, toHeader("header"), {zeros(8)}, 0, [](uint64_t) {}, nullptr);
  };
  write(folder.path("file"));
  CHECK_ERROR(code::kFileUnwritable, write(folder.path("file/within")));
  CHECK_ERROR(code::kFileUnwritable, write(folder.path("model") + '\0'));
  CHECK_ERROR(code::kFileUnwritable, write(folder.path()));
  CHECK(folder.names() == std::vector<std::string>{"file"});
}
