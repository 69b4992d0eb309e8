#include "gguf/gguf_file.h"

#include <gguf.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor_context.h"
#include "check.h"
#include "gguf_builder.h"
#include "temporary_file.h"

using gpt2::GgufFile;
using gpt2::GgufType;
using gpt2::MetadataValue;
using gpt2::TensorInfo;
using gpt2::test::GgufBuilder;
using gpt2::test::raw;
using gpt2::test::TemporaryFile;

namespace {

std::vector<std::string> stringsOf(const MetadataValue& value) {
  std::vector<std::string> strings;
  value.forEachString([&](std::string_view text) { strings.emplace_back(text); });
  return strings;
}

const MetadataValue& at(const GgufFile& file, const std::string& key) {
  const MetadataValue* value = file.find(key);
  CHECK(value != nullptr);
  return *value;
}

const TensorInfo& named(const GgufFile& file, const std::string& name) {
  const auto found = std::find_if(file.tensors().begin(), file.tensors().end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  CHECK(found != file.tensors().end());
  return *found;
}

std::string dataOf(const TensorInfo& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.byteSize};
}

template <typename T>
void addScalar(GgufBuilder& builder, const std::string& key, uint32_t type, T value) {
  builder.metadata(key, type, raw(value));
}

}  // namespace

TEST(readsEveryTypeOfNumber) {
  for (const uint32_t version : {2U, 3U}) {
    GgufBuilder builder;
    builder.version = version;
    addScalar<uint8_t>(builder, "u8", 0, 255);
    addScalar<int8_t>(builder, "i8", 1, -128);
    addScalar<uint16_t>(builder, "u16", 2, 65535);
    addScalar<int16_t>(builder, "i16", 3, -32768);
    addScalar<uint32_t>(builder, "u32", 4, 4294967295U);
    addScalar<int32_t>(builder, "i32", 5, -2147483647 - 1);
    addScalar<float>(builder, "f32", 6, 1e-5F);
    addScalar<uint8_t>(builder, "no", 7, 0);
    addScalar<uint8_t>(builder, "yes", 7, 1);
    addScalar<uint64_t>(builder, "u64", 10, uint64_t{1} << 63U);
    addScalar<int64_t>(builder, "i64", 11, -(int64_t{1} << 52U) - 1);
    addScalar<double>(builder, "f64", 12, 0.1);
    const std::vector<std::pair<std::string, double>> expected{
        {"u8", 255},         {"i8", -128},           {"u16", 65535},       {"i16", -32768},
        {"u32", 4294967295}, {"i32", -2147483648.0}, {"f32", 1e-5F},       {"no", 0},
        {"yes", 1},          {"u64", 0x1p63},        {"i64", -0x1p52 - 1}, {"f64", 0.1}};

    const TemporaryFile path(builder.bytes());
    const GgufFile file(path.path(), true);
    CHECK_EQUAL(file.version(), version);
    CHECK_EQUAL(file.metadata().size(), expected.size());
    CHECK_EQUAL(file.tensors().size(), 0U);
    for (size_t i = 0; i < expected.size(); ++i) {
      CHECK_EQUAL(file.metadata()[i].first, expected[i].first);
      const MetadataValue& value = at(file, expected[i].first);
      CHECK(!value.isArray);
      CHECK_EQUAL(value.count, 1U);
      CHECK(value.number().has_value());
      CHECK_EQUAL(*value.number(), expected[i].second);
      CHECK(!value.string().has_value());
      CHECK(stringsOf(value).empty());
    }
  }
}

TEST(readsStrings) {
  const std::string odd("\0\xff\n\xc3\xa4", 5);
  const std::string large(70000, 'x');
  const TemporaryFile path(GgufBuilder()
                               .string("empty", "")
                               .string("", "of the empty key")
                               .string("odd", odd)
                               .string("large", large)
                               .bytes());
  const GgufFile file(path.path(), true);
  CHECK_EQUAL(std::string(at(file, "empty").string().value()), "");
  CHECK_EQUAL(std::string(at(file, "").string().value()), "of the empty key");
  CHECK(at(file, "odd").string() == odd);
  CHECK(at(file, "large").string() == large);
  CHECK(!at(file, "odd").number().has_value());
  CHECK(stringsOf(at(file, "odd")) == std::vector<std::string>{odd});
}

TEST(readsArraysOfEveryType) {
  // The bytes of one element, by type.
  const std::pair<uint32_t, size_t> kTypes[] = {{0, 1}, {1, 1}, {2, 2},  {3, 2},  {4, 4}, {5, 4},
                                                {6, 4}, {7, 1}, {10, 8}, {11, 8}, {12, 8}};
  for (const auto& [type, size] : kTypes) {
    std::string elements;
    for (size_t i = 0; i < 5 * size; ++i) elements += static_cast<char>(17 * i + type);
    const TemporaryFile path(GgufBuilder()
                                 .array("five", type, 5, elements)
                                 .array("none", type, 0, "")
                                 .number("after", 7U)
                                 .bytes());
    const GgufFile file(path.path(), false);
    const MetadataValue& five = at(file, "five");
    CHECK(five.isArray);
    CHECK_EQUAL(static_cast<uint32_t>(five.type), type);
    CHECK_EQUAL(five.count, 5U);
    CHECK_EQUAL(std::string(reinterpret_cast<const char*>(five.data), elements.size()), elements);
    CHECK(!five.number().has_value());
    CHECK(!five.string().has_value());
    CHECK(at(file, "none").isArray);
    CHECK_EQUAL(at(file, "none").count, 0U);
    CHECK_EQUAL(*at(file, "after").number(), 7);
  }
}

TEST(readsArraysOfStrings) {
  const std::vector<std::string> texts{"a", "", "\xc4\xa0the", "", std::string(300, 'z'), "end"};
  const TemporaryFile path(
      GgufBuilder().strings("texts", texts).strings("none", {}).number("after", 1U).bytes());
  const GgufFile file(path.path(), true);
  CHECK(stringsOf(at(file, "texts")) == texts);
  CHECK_EQUAL(at(file, "texts").count, texts.size());
  CHECK(at(file, "texts").type == GgufType::kString);
  CHECK(!at(file, "texts").string().has_value());
  CHECK(!at(file, "texts").number().has_value());
  CHECK(stringsOf(at(file, "none")).empty());
  CHECK_EQUAL(*at(file, "after").number(), 1);
}

TEST(findsByNameAndKeepsTheOrder) {
  GgufBuilder builder;
  for (uint32_t i = 0; i < 300; ++i) builder.number("key." + std::to_string(i), i);
  for (uint32_t i = 0; i < 300; ++i) {
    builder.tensor("tensor." + std::to_string(i), {1}, GGML_TYPE_F32, raw(static_cast<float>(i)));
  }
  const TemporaryFile path(builder.bytes());
  const GgufFile file(path.path(), true);
  CHECK_EQUAL(file.path(), path.path());
  for (size_t i = 0; i < 300; ++i) {
    const std::string number = std::to_string(i);
    CHECK_EQUAL(file.metadata()[i].first, "key." + number);
    CHECK(file.find("key." + number) == &file.metadata()[i].second);
    CHECK_EQUAL(*at(file, "key." + number).number(), static_cast<double>(i));
    CHECK_EQUAL(file.tensors()[i].name, "tensor." + number);
    CHECK(file.tensors()[i].file == &file);
    CHECK_EQUAL(dataOf(file.tensors()[i]), raw(static_cast<float>(i)));
  }
  for (const char* absent : {"", "key.", "key.300", "KEY.1", "tensor.1"}) {
    CHECK(file.find(absent) == nullptr);
  }
}

TEST(readsTensorsAtEveryAlignment) {
  const std::string numbers = raw(std::vector<float>{1, 2, 3, 4, 5, 6});
  const std::string block(34, '\x2a');  // one block of q8_0: a scale and 32 numbers
  for (const uint64_t alignment : {0U, 8U, 16U, 64U, 4096U}) {
    GgufBuilder builder;
    if (alignment != 0) {
      builder.alignment = alignment;
      builder.number("general.alignment", static_cast<uint32_t>(alignment));
    }
    const TemporaryFile path(builder.tensor("a", {1, 1, 1, 6}, GGML_TYPE_F32, numbers)
                                 .tensor("b", {32}, GGML_TYPE_Q8_0, block)
                                 .tensor("c", {3, 2}, GGML_TYPE_F32, numbers)
                                 .tensor("d", {3, 1, 4}, GGML_TYPE_F16, numbers)
                                 .bytes());
    for (const bool map : {true, false}) {
      const GgufFile file(path.path(), map);
      CHECK_EQUAL(file.tensors().size(), 4U);
      for (const TensorInfo& tensor : file.tensors()) {
        CHECK_EQUAL(reinterpret_cast<uintptr_t>(tensor.data) %
                        std::min<uint64_t>(alignment == 0 ? 32 : alignment, 64),
                    0U);
      }
      CHECK_EQUAL(dataOf(named(file, "a")), numbers);
      CHECK_EQUAL(dataOf(named(file, "b")), block);
      CHECK_EQUAL(dataOf(named(file, "c")), numbers);
      CHECK_EQUAL(dataOf(named(file, "d")), numbers);
      CHECK(named(file, "a").shape == (std::array<int64_t, 4>{1, 1, 1, 6}));
      CHECK_EQUAL(named(file, "a").dimensionCount, 4);
      CHECK(named(file, "c").shape == (std::array<int64_t, 4>{3, 2, 1, 1}));
      CHECK_EQUAL(named(file, "c").dimensionCount, 2);
      CHECK(named(file, "d").shape == (std::array<int64_t, 4>{3, 1, 4, 1}));
      CHECK_EQUAL(named(file, "b").type, GGML_TYPE_Q8_0);
    }
  }
}

TEST(readsTensorsInAnyOrderWithGaps) {
  const std::string numbers = raw(std::vector<float>(24, 2));
  const TemporaryFile path(GgufBuilder()
                               .tensor("later", {8}, GGML_TYPE_F32, numbers, 64)
                               .tensor("first", {8}, GGML_TYPE_F32, "", 0)
                               .bytes());
  const GgufFile file(path.path(), true);
  CHECK_EQUAL(named(file, "later").data - named(file, "first").data, 64);
  CHECK_EQUAL(dataOf(named(file, "first")), numbers.substr(0, 32));
}

// Otherwise a small file could demand any amount of memory where tensors are copied.
TEST(rejectsTensorsThatClaimMoreBytesThanTheFileHas) {
  GgufBuilder builder;
  const std::string numbers = raw(std::vector<float>(256, 2));
  builder.tensor("first", {256}, GGML_TYPE_F32, numbers, 0);
  for (int i = 0; i < 20; ++i) {
    builder.tensor("same" + std::to_string(i), {256}, GGML_TYPE_F32, "", 0);
  }
  const TemporaryFile path(builder.bytes());
  CHECK_ERROR(gpt2::code::kInvalidFile, GgufFile(path.path(), true));
}

TEST(acceptsTheLongestTensorName) {
  const std::string name(GGML_MAX_NAME - 1, 'n');
  const TemporaryFile path(GgufBuilder().tensor(name, {1}, GGML_TYPE_F32, raw(1.F)).bytes());
  CHECK_EQUAL(GgufFile(path.path(), true).tensors()[0].name, name);
}

TEST(countsItsPrivateBytes) {
  const std::string bytes = GgufBuilder().number("key", 1U).bytes();
  const TemporaryFile path(bytes);
  const GgufFile mapped(path.path(), true);
  const GgufFile copied(path.path(), false);
  CHECK_EQUAL(mapped.bytes().size(), bytes.size());
  CHECK_EQUAL(mapped.bytes().anonymousBytes(), 0U);
  CHECK_EQUAL(copied.bytes().anonymousBytes(), bytes.size());
  CHECK(std::equal(bytes.begin(), bytes.end(), mapped.bytes().data(),
                   [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }));
  CHECK(std::equal(bytes.begin(), bytes.end(), copied.bytes().data(),
                   [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }));
}

// Values of every type, written by ggml's writer. It aligns tensors to 32 whatever the key says.
TEST(readsFilesWrittenByGgml) {
  gguf_context* writer = gguf_init_empty();
  gguf_set_val_u32(writer, "general.alignment", 32);
  gguf_set_val_u8(writer, "u8", 200);
  gguf_set_val_i8(writer, "i8", -100);
  gguf_set_val_u16(writer, "u16", 60000);
  gguf_set_val_i16(writer, "i16", -30000);
  gguf_set_val_u32(writer, "u32", 4000000000U);
  gguf_set_val_i32(writer, "i32", -2000000000);
  gguf_set_val_f32(writer, "f32", 0.1F);
  gguf_set_val_u64(writer, "u64", uint64_t{1} << 60U);
  gguf_set_val_i64(writer, "i64", -5);
  gguf_set_val_f64(writer, "f64", 0.1);
  gguf_set_val_bool(writer, "bool", true);
  gguf_set_val_str(writer, "str", "text");
  const std::vector<int32_t> integers{1, -2, 3};
  gguf_set_arr_data(writer, "integers", GGUF_TYPE_INT32, integers.data(), integers.size());
  const char* texts[] = {"one", "", "three"};
  gguf_set_arr_str(writer, "texts", texts, 3);

  const gpt2::TensorContext context(3);
  std::vector<float> matrix(15);
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<float>(i) / 4;
  std::vector<uint8_t> blocks(2 * ggml_row_size(GGML_TYPE_Q4_K, 256));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(i * 7);
  std::vector<uint16_t> half(7, 0x3c00);
  const std::pair<ggml_tensor*, void*> tensors[] = {
      {ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 5, 3), matrix.data()},
      {ggml_new_tensor_2d(context.get(), GGML_TYPE_Q4_K, 256, 2), blocks.data()},
      {ggml_new_tensor_1d(context.get(), GGML_TYPE_F16, 7), half.data()}};
  const char* names[] = {"matrix", "blocks", "half"};
  for (size_t i = 0; i < 3; ++i) {
    ggml_set_name(tensors[i].first, names[i]);
    gguf_add_tensor(writer, tensors[i].first);
    gguf_set_tensor_data(writer, names[i], tensors[i].second);
  }
  const TemporaryFile path;
  CHECK(gguf_write_to_file(writer, path.path().c_str(), false));
  gguf_free(writer);

  const GgufFile file(path.path(), true);
  const std::pair<const char*, double> numbers[] = {
      {"general.alignment", 32}, {"u8", 200},           {"i8", -100},         {"u16", 60000},
      {"i16", -30000},           {"u32", 4000000000.0}, {"i32", -2000000000}, {"f32", 0.1F},
      {"u64", 0x1p60},           {"i64", -5},           {"f64", 0.1},         {"bool", 1}};
  for (const auto& [key, number] : numbers) CHECK_EQUAL(*at(file, key).number(), number);
  CHECK_EQUAL(file.metadata().size(), 15U);
  CHECK(at(file, "str").string() == "text");
  CHECK_EQUAL(std::string(reinterpret_cast<const char*>(at(file, "integers").data), 12),
              raw(integers));
  CHECK(stringsOf(at(file, "texts")) == (std::vector<std::string>{"one", "", "three"}));
  CHECK_EQUAL(file.tensors().size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const TensorInfo& tensor = named(file, names[i]);
    CHECK_EQUAL(tensor.type, tensors[i].first->type);
    CHECK(std::equal(tensor.shape.begin(), tensor.shape.end(), tensors[i].first->ne));
    CHECK_EQUAL(tensor.byteSize, ggml_nbytes(tensors[i].first));
    CHECK_EQUAL(std::memcmp(tensor.data, tensors[i].second, tensor.byteSize), 0);
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(tensor.data) % 32, 0U);
  }
}
