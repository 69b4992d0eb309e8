#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "damage_bytes.h"
#include "gguf/gguf_file.h"
#include "gguf_builder.h"
#include "random_numbers.h"
#include "temporary_file.h"

#ifndef _WIN32
#include <sys/stat.h>
#endif

using gpt2::GgufFile;
using gpt2::TensorInfo;
using gpt2::test::damagedBytes;
using gpt2::test::GgufBuilder;
using gpt2::test::RandomNumbers;
using gpt2::test::raw;
using gpt2::test::rawString;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

// A file with every kind of value. Its last byte belongs to the last tensor.
GgufBuilder sample() {
  GgufBuilder builder;
  builder.string("general.architecture", "gpt2")
      .number("gpt2.context_length", 64U)
      .number("epsilon", 1e-5F)
      .metadata("u64", 10, raw<uint64_t>(7))
      .metadata("bool", 7, "\1")
      .array("bytes", 0, 3, "abc")
      .array("doubles", 12, 2, raw(std::vector<double>{1, 2}))
      .strings("tokens", {"one", "", "three"})
      .number("general.alignment", 16U);
  builder.alignment = 16;
  return builder.tensor("vector", {5}, GGML_TYPE_F32, raw(std::vector<float>(5, 1)))
      .tensor("blocks", {32, 2}, GGML_TYPE_Q8_0, std::string(68, '\3'))
      .tensor("matrix", {3, 2}, GGML_TYPE_F16, raw(std::vector<uint16_t>(6, 0x3c00)));
}

// Opens the bytes mapped and read. The error must be INVALID_FILE, name the file and give the
// reason in one line.
void checkRejected(const std::string& bytes, const std::string& reason) {
  const TemporaryFile path(bytes);
  for (const bool map : {true, false}) {
    std::string message = "nothing";
    try {
      const GgufFile file(path.path(), map);
    } catch (const gpt2::Error& error) {
      CHECK_EQUAL(std::string(error.code()), code::kInvalidFile);
      message = error.what();
      CHECK(message.rfind(path.path() + ": ", 0) == 0);
    }
    if (message.find(reason) == std::string::npos) {
      gpt2::test::fail(__FILE__, __LINE__, "expected \"" + reason + "\" but received: " + message);
    }
  }
}

void checkRejected(const GgufBuilder& builder, const std::string& reason) {
  checkRejected(builder.bytes(), reason);
}

// Reads every byte that the file exposes, so that a sanitizer detects a wrong pointer.
uint64_t touchEverything(const GgufFile& file) {
  uint64_t sum = 0;
  for (const auto& [key, value] : file.metadata()) {
    CHECK(file.find(key) == &value);
    value.forEachString(
        [&](std::string_view text) { sum = std::accumulate(text.begin(), text.end(), sum); });
    if (const auto text = value.string()) sum = std::accumulate(text->begin(), text->end(), sum);
    if (value.number()) ++sum;
  }
  for (const TensorInfo& tensor : file.tensors()) {
    CHECK(tensor.file == &file);
    CHECK(tensor.data >= file.bytes().data());
    CHECK(tensor.data + tensor.byteSize <= file.bytes().data() + file.bytes().size());
    const int64_t elements = tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
    CHECK_EQUAL(tensor.byteSize, ggml_row_size(tensor.type, elements));
    sum = std::accumulate(tensor.data, tensor.data + tensor.byteSize, sum);
  }
  return sum;
}

}  // namespace

TEST(openFailuresHaveTheirOwnCodes) {
  const TemporaryFile missing;
  const std::string folder = std::filesystem::temp_directory_path().u8string();
  const TemporaryFile file("GGUF");
  for (const bool map : {true, false}) {
    CHECK_ERROR(code::kFileNotFound, GgufFile(missing.path(), map));
    CHECK_ERROR(code::kFileNotFound, GgufFile(missing.path() + "/within", map));
    CHECK_ERROR(code::kFileNotFound, GgufFile("", map));
    CHECK_ERROR(code::kFileUnreadable, GgufFile(folder, map));
    CHECK_ERROR(code::kInvalidFile, GgufFile(file.path(), map));
  }
}

#ifndef _WIN32
// The pipe has no writer, so a blocking open would wait for ever.
TEST(aNamedPipeIsUnreadable) {
  const TemporaryFile pipe;
  CHECK_EQUAL(mkfifo(pipe.path().c_str(), 0600), 0);
  for (const bool map : {true, false}) {
    CHECK_ERROR(code::kFileUnreadable, GgufFile(pipe.path(), map));
  }
}
#else
TEST(aNamedPipeIsUnreadable) { SKIP("needs mkfifo"); }
#endif

TEST(acceptsTheUndamagedFile) {
  const TemporaryFile path(sample().bytes());
  for (const bool map : {true, false}) {
    const GgufFile file(path.path(), map);
    CHECK_EQUAL(file.metadata().size(), 9U);
    CHECK_EQUAL(file.tensors().size(), 3U);
    CHECK(touchEverything(file) > 0);
  }
}

TEST(rejectsAFileTruncatedAnywhere) {
  for (const uint32_t version : {2U, 3U}) {
    GgufBuilder builder = sample();
    builder.version = version;
    const std::string whole = builder.bytes();
    const TemporaryFile path;
    for (size_t length = 0; length < whole.size(); ++length) {
      path.write(whole.substr(0, length));
      for (const bool map : {true, false}) {
        CHECK_ERROR(code::kInvalidFile, GgufFile(path.path(), map));
      }
    }
  }
}

TEST(rejectsOtherMagicsAndVersions) {
  GgufBuilder builder = sample();
  for (const char* magic : {"GGML", "gguf", "FUGG", "PK\3\4"}) {
    builder.magic = magic;
    checkRejected(builder, "starts with the bytes \"GGUF\"");
  }
  checkRejected(std::string("GGU"), "starts with the bytes \"GGUF\"");
  builder = sample();
  for (const uint32_t version : {1U, 4U, 5U, 0xffffffffU}) {
    builder.version = version;
    checkRejected(builder, "expected GGUF version 2 or 3 but found " + std::to_string(version));
  }
  // 3 and 2 in big-endian order.
  for (const uint32_t version : {0x03000000U, 0x02000000U}) {
    builder.version = version;
    checkRejected(builder, "big-endian");
  }
}

TEST(rejectsCountsBeyondTheFile) {
  for (const uint64_t count :
       {uint64_t{4}, uint64_t{1000}, uint64_t{1} << 32U, uint64_t{1} << 63U, kMost}) {
    GgufBuilder builder = sample();
    builder.claimedTensors = count;
    checkRejected(builder, "");
    builder = sample();
    builder.claimedMetadata = count + 6;
    checkRejected(builder, "");
    GgufBuilder empty;
    empty.claimedTensors = count;
    checkRejected(empty, "the file ends inside a tensor's name");
    empty = GgufBuilder();
    empty.claimedMetadata = count;
    checkRejected(empty, "the file ends inside a metadata key");
  }
}

TEST(rejectsStringsBeyondTheFile) {
  for (const uint64_t length :
       {uint64_t{6}, uint64_t{1} << 32U, uint64_t{1} << 63U, kMost - 8, kMost}) {
    checkRejected(GgufBuilder().metadata("key", 8, raw(length) + "short"), "the file ends inside");
    checkRejected(GgufBuilder().array("key", 8, 2, rawString("ok") + raw(length) + "short"),
                  "the file ends inside");
    // As a key and as a tensor's name, both right after the header.
    GgufBuilder builder;
    builder.claimedMetadata = 1;
    checkRejected(builder.bytes() + raw(length) + "short", "the file ends inside a metadata key");
    builder = GgufBuilder();
    builder.claimedTensors = 1;
    checkRejected(builder.bytes() + raw(length) + "short", "the file ends inside a tensor's name");
  }
}

TEST(rejectsArraysBeyondTheFile) {
  for (const uint32_t type : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 10U, 11U, 12U}) {
    for (const uint64_t count : {uint64_t{100}, uint64_t{1} << 60U, uint64_t{1} << 61U,
                                 uint64_t{1} << 62U, uint64_t{1} << 63U, kMost}) {
      checkRejected(GgufBuilder().array("key", type, count, std::string(16, '\0')),
                    "the metadata value \"key\"");
    }
  }
}

TEST(rejectsUnknownValueTypes) {
  for (const uint32_t type : {13U, 14U, 255U, 0x80000000U, 0xffffffffU}) {
    checkRejected(GgufBuilder().metadata("key", type, std::string(16, '\0')), "unknown type");
    checkRejected(GgufBuilder().array("key", type, 1, std::string(16, '\0')), "unknown type");
    checkRejected(GgufBuilder().array("key", type, 0, ""), "unknown type");
  }
}

TEST(rejectsNestedArrays) {
  const std::string inner = raw<uint32_t>(0) + raw<uint64_t>(1) + "x";
  checkRejected(GgufBuilder().array("key", 9, 1, inner), "unknown type 9");
  checkRejected(GgufBuilder().array("key", 9, 0, ""), "unknown type 9");
  checkRejected(GgufBuilder().array("key", 9, kMost, inner), "unknown type 9");
}

// ggml has removed the types 4, 5, 31 to 33 and 36 to 38.
TEST(rejectsUnknownTensorTypes) {
  for (const uint32_t type :
       {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U, static_cast<uint32_t>(GGML_TYPE_COUNT), 44U, 1000U,
        0x80000000U, 0xffffffffU}) {
    checkRejected(GgufBuilder().tensor("t", {256}, type, std::string(4096, '\0')),
                  "unknown type " + std::to_string(type));
  }
}

TEST(rejectsImpossibleDimensions) {
  const std::string data(64, '\0');
  const auto shaped = [&](const std::vector<uint64_t>& shape) {
    return GgufBuilder().tensor("t", shape, GGML_TYPE_F32, data);
  };
  checkRejected(shaped({}), "0 dimensions");
  checkRejected(shaped({1, 1, 1, 1, 1}), "5 dimensions");
  checkRejected(shaped(std::vector<uint64_t>(200, 1)), "200 dimensions");
  for (const uint64_t extent :
       {uint64_t{0}, uint64_t{1} << 31U, uint64_t{1} << 62U, uint64_t{1} << 63U, kMost}) {
    for (size_t at = 0; at < 4; ++at) {
      std::vector<uint64_t> shape(4, 1);
      shape[at] = extent;
      checkRejected(shaped(shape), "has a dimension of " + std::to_string(extent));
    }
  }
  // Products that wrap to 0 or to a small number in 64 bits.
  checkRejected(shaped({uint64_t{1} << 32U, uint64_t{1} << 32U}), "has a dimension");
  checkRejected(shaped({uint64_t{1} << 16U, 1U << 16U, 1U << 16U, 1U << 16U}), "has a dimension");
  checkRejected(shaped({(uint64_t{1} << 63U) + 4, 2}), "has a dimension");
  checkRejected(shaped({3, 0xaaaaaaaaaaaaaaabU}), "has a dimension");
  // The same in a file with enough bits for each extent alone.
  checkRejected(GgufBuilder().tensor("t", std::vector<uint64_t>(4, 1U << 16U), GGML_TYPE_F32,
                                     std::string(16384, '\0')),
                "has a dimension of 65536");
  // As many elements as the file has bits, but too many bytes.
  checkRejected(shaped({17}), "the file ends inside the tensor \"t\"");
  checkRejected(shaped({16, 16}), "the file ends inside the tensor \"t\"");
}

TEST(rejectsDimensionCountsBeyondTheFile) {
  std::string bytes = GgufBuilder().tensor("t", {1}, GGML_TYPE_F32, raw(1.F)).bytes();
  const size_t at = 24 + 8 + 1;  // after the header and the name
  CHECK_EQUAL(bytes.substr(at, 4), raw<uint32_t>(1));
  bytes.replace(at, 4, raw<uint32_t>(0xffffffff));
  checkRejected(bytes, "4294967295 dimensions");
}

TEST(rejectsRowsOfBrokenBlocks) {
  const std::string data(1024, '\0');
  checkRejected(GgufBuilder().tensor("t", {31}, GGML_TYPE_Q8_0, data), "multiples of 32");
  checkRejected(GgufBuilder().tensor("t", {48, 2}, GGML_TYPE_Q4_0, data), "multiples of 32");
  checkRejected(GgufBuilder().tensor("t", {1, 256}, GGML_TYPE_Q4_K, data), "multiples of 256");
}

TEST(rejectsWrongOffsets) {
  const std::string data(64, '\0');
  for (const uint64_t offset : {uint64_t{1}, uint64_t{8}, uint64_t{31}, uint64_t{33}, kMost}) {
    checkRejected(GgufBuilder().tensor("t", {16}, GGML_TYPE_F32, data, offset),
                  "not a multiple of 32");
  }
  for (const uint64_t offset : {uint64_t{32}, uint64_t{64}, uint64_t{96}, uint64_t{1} << 32U,
                                uint64_t{1} << 63U, kMost - 31, kMost - 63}) {
    checkRejected(GgufBuilder().tensor("t", {16}, GGML_TYPE_F32, data, offset),
                  "the file ends inside the tensor \"t\"");
  }
}

TEST(rejectsWrongAlignments) {
  const std::string data(64, '\0');
  const auto aligned = [&](uint32_t type, const std::string& value) {
    return GgufBuilder().metadata("general.alignment", type, value).tensor("t", {16}, 0, data);
  };
  for (const uint32_t alignment : {0U, 1U, 2U, 3U, 4U, 12U, 48U, 0x80000000U, 0xffffffffU}) {
    checkRejected(aligned(4, raw(alignment)), "general.alignment");
  }
  checkRejected(aligned(10, raw(kMost)), "general.alignment");
  checkRejected(aligned(5, raw<int32_t>(-32)), "general.alignment");
  checkRejected(aligned(6, raw(std::nanf(""))), "general.alignment");
  checkRejected(aligned(12, raw(std::numeric_limits<double>::infinity())), "general.alignment");
  checkRejected(aligned(8, rawString("32")), "general.alignment");
  checkRejected(aligned(9, raw<uint32_t>(4) + raw<uint64_t>(1) + raw<uint32_t>(32)),
                "general.alignment");
}

TEST(rejectsAKeyThatOccursTwice) {
  checkRejected(GgufBuilder().number("key", 1U).number("other", 1U).string("key", ""),
                "the metadata key \"key\" occurs twice");
}

TEST(rejectsLongTensorNames) {
  for (const size_t length : {size_t{GGML_MAX_NAME}, size_t{65}, size_t{100000}}) {
    checkRejected(GgufBuilder().tensor(std::string(length, 'n'), {1}, 0, raw(1.F)),
                  "has a name of more than 63 bytes");
  }
}

// Copies of a valid file with some bytes changed. Each is rejected, or opens and can be read
// entirely.
TEST(survivesChangedBytes) {
  const std::string valid = sample().bytes();
  RandomNumbers random(2024);
  const TemporaryFile path;
  int opened = 0;
  constexpr int kCopies = 3000;
  for (int i = 0; i < kCopies; ++i) {
    path.write(damagedBytes(valid, random));
    const bool map = i % 2 == 0;
    try {
      const GgufFile file(path.path(), map);
      touchEverything(file);
      ++opened;
    } catch (const gpt2::Error& error) {
      CHECK_EQUAL(std::string(error.code()), code::kInvalidFile);
    }
  }
  // Both outcomes must occur, or the changes are too weak or too strong.
  CHECK(opened > kCopies / 20);
  CHECK(opened < kCopies * 19 / 20);
}
