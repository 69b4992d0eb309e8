// The bytes that tokens stand for.

#include "gguf/token_bytes.h"

#include <string>
#include <vector>

#include "check.h"
#include "gguf_builder.h"
#include "temporary_file.h"

using gpt2::appendSpelledBytes;
using gpt2::GgufFile;
using gpt2::TokenBytes;
using gpt2::test::GgufBuilder;
using gpt2::test::raw;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

constexpr uint32_t kInt32 = 5;

std::string spelled(std::string_view text) {
  std::string bytes;
  CHECK(appendSpelledBytes(text, bytes));
  return bytes;
}

std::shared_ptr<const TokenBytes> bytesOf(const GgufBuilder& builder, uint64_t vocabSize) {
  const TemporaryFile path(builder.bytes());
  return TokenBytes::read(GgufFile(path.path(), true), vocabSize);
}

}  // namespace

// From the table of bytes_to_unicode in OpenAI's encoder.py: U+0120 spells the space, U+010A the
// line break, U+00E9 the byte e9, U+0100 the byte 0, and U+0143, the last, the byte ad.
TEST(charactersSpellBytes) {
  CHECK_EQUAL(spelled(""), "");
  CHECK_EQUAL(spelled("~!\xC4\xA0x\xC4\x8A"), "~! x\n");
  CHECK_EQUAL(spelled("\xC3\xA9\xC2\xA9"), "\xE9\xA9");
  CHECK_EQUAL(spelled("\xC4\x80\xC5\x83"), std::string("\0\xAD", 2));
}

TEST(otherCharactersSpellNothing) {
  for (const char* text : {" ", "\n", "a\x7F", "\xC2\xA0", "\xC2\xAD", "\xC5\x84", "\xE2\x82\xAC",
                           "\xC4", "a\xC4", "\x80", "\xC4x", "\xFF"}) {
    std::string bytes = "before";
    CHECK(!appendSpelledBytes(text, bytes));
    CHECK_EQUAL(bytes, "before");
  }
}

TEST(everyByteIsSpelledByOneCharacter) {
  std::vector<int> times(256, 0);
  for (uint32_t character = 0; character < 0x800; ++character) {
    const std::string text = character < 0x80
                                 ? std::string(1, static_cast<char>(character))
                                 : std::string{static_cast<char>(0xC0U | character >> 6U),
                                               static_cast<char>(0x80U | (character & 0x3FU))};
    std::string bytes;
    if (appendSpelledBytes(text, bytes)) ++times[static_cast<uint8_t>(bytes.at(0))];
  }
  for (const int count : times) CHECK_EQUAL(count, 1);
}

TEST(normalTokensAreSpelledAndOthersPlain) {
  GgufBuilder builder;
  builder.strings("tokenizer.ggml.tokens", {"\xC4\xA0x", "\xC4\xA0y", "a b", "[PAD3]", "zz", ""});
  builder.array("tokenizer.ggml.token_type", kInt32, 6,
                raw(std::vector<int32_t>{1, 4, 1, 1, 5, 1}));
  const auto tokens = bytesOf(builder, 8);
  CHECK_EQUAL(tokens->size(), 8U);
  CHECK_EQUAL(tokens->of(0), " x");
  CHECK_EQUAL(tokens->of(1), "\xC4\xA0y");
  CHECK_EQUAL(tokens->of(2), "a b");  // a normal token that spells no bytes
  for (const uint32_t padding : {3, 4, 5, 6, 7}) CHECK_EQUAL(tokens->of(padding), "");
}

TEST(tokensBeyondTheModelsAreIgnored) {
  const auto tokens = bytesOf(GgufBuilder().strings("tokenizer.ggml.tokens", {"a", "b", "c"}), 2);
  CHECK_EQUAL(tokens->size(), 2U);
  CHECK_EQUAL(tokens->of(1), "b");
}

TEST(aFileWithoutTokensSpellsNone) {
  CHECK(bytesOf(GgufBuilder(), 3) == nullptr);
  GgufBuilder builder;
  builder.strings("tokenizer.ggml.tokens", {"a"});
  builder.array("tokenizer.ggml.token_type", kInt32, 2, raw(std::vector<int32_t>{1, 1}));
  CHECK_ERROR(code::kInvalidFile, bytesOf(builder, 1));
}
