// The summary of a file's tokens: GPT-2's own and those that were added.

#include "gguf/vocabulary.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "gguf_builder.h"
#include "random_numbers.h"
#include "temporary_file.h"

using gpt2::AddedToken;
using gpt2::GgufFile;
using gpt2::kMaxAddedBytes;
using gpt2::kMaxAddedTokens;
using gpt2::kMaxSettingBytes;
using gpt2::kMaxTokenizerSettings;
using gpt2::summarizeVocabulary;
using gpt2::TokenizerSetting;
using gpt2::tokenizerSettings;
using gpt2::VocabularySummary;
using gpt2::test::GgufBuilder;
using gpt2::test::RandomNumbers;
using gpt2::test::raw;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

constexpr uint32_t kInt32 = 5;
constexpr size_t kGpt2Tokens = 50'257;
constexpr uint64_t kAnySize = 1'000'000;

// Stand-ins for GPT-2's tokens, followed by others.
std::vector<std::string> tokensWith(const std::vector<std::string>& added) {
  std::vector<std::string> tokens(kGpt2Tokens, "t");
  tokens.insert(tokens.end(), added.begin(), added.end());
  return tokens;
}

std::vector<int32_t> kindsWith(const std::vector<int32_t>& added) {
  std::vector<int32_t> kinds(kGpt2Tokens, 1);
  kinds.insert(kinds.end(), added.begin(), added.end());
  return kinds;
}

GgufBuilder& addKinds(GgufBuilder& builder, const std::vector<int32_t>& kinds) {
  return builder.array("tokenizer.ggml.token_type", kInt32, kinds.size(), raw(kinds));
}

std::optional<VocabularySummary> summaryOf(const GgufBuilder& builder,
                                           uint64_t vocabSize = kAnySize) {
  const TemporaryFile path(builder.bytes());
  auto mapped = summarizeVocabulary(GgufFile(path.path(), true), vocabSize);
  const auto read = summarizeVocabulary(GgufFile(path.path(), false), vocabSize);
  CHECK_EQUAL(mapped.has_value(), read.has_value());
  if (mapped) CHECK_EQUAL(mapped->fingerprint, read->fingerprint);
  return mapped;
}

VocabularySummary summaryOfAdded(const std::vector<std::string>& added,
                                 const std::vector<int32_t>& kinds, uint64_t vocabSize = kAnySize) {
  GgufBuilder builder;
  builder.strings("tokenizer.ggml.tokens", tokensWith(added));
  return *summaryOf(addKinds(builder, kindsWith(kinds)), vocabSize);
}

void checkAdded(const VocabularySummary& summary, const std::vector<AddedToken>& expected) {
  CHECK(summary.added.has_value());
  CHECK_EQUAL(summary.added->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const AddedToken& token = (*summary.added)[i];
    CHECK_EQUAL(token.id, expected[i].id);
    CHECK_EQUAL(token.kind, expected[i].kind);
    CHECK_EQUAL(token.text, expected[i].text);
  }
}

}  // namespace

TEST(aFileWithoutTokensHasNoSummary) {
  CHECK(!summaryOf(GgufBuilder()));
  CHECK(!summaryOf(GgufBuilder().string("tokenizer.ggml.tokens", "a")));
  CHECK(!summaryOf(GgufBuilder().array("tokenizer.ggml.tokens", kInt32, 1, raw<int32_t>(1))));
  const auto empty = summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", {}));
  CHECK(empty.has_value());
  CHECK_EQUAL(empty->count, 0U);
  CHECK(empty->added->empty());
}

// FNV-1a's published offset, and ((((offset ^ 'a') × prime) × prime ^ 'b') × prime) × prime modulo
// 2^64, computed independently of this code.
TEST(theFingerprintIsFnv1aOverTokensAndZeros) {
  const auto none = summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", {}));
  CHECK_EQUAL(none->fingerprint, "cbf29ce484222325");
  const auto two = summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", {"a", "b"}));
  CHECK_EQUAL(two->fingerprint, "ab40d7820d408076");
}

TEST(theFingerprintIsOfTheFirst50257TokensOnly) {
  const std::string own = summaryOfAdded({}, {}).fingerprint;
  CHECK_EQUAL(summaryOfAdded({"<|pad|>", "[SEP]"}, {3, 4}).fingerprint, own);
  CHECK_EQUAL(summaryOfAdded({"[PAD50257]"}, {5}).fingerprint, own);
  std::vector<std::string> tokens = tokensWith({});
  tokens.back() = "u";
  CHECK(summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", tokens))->fingerprint != own);
  tokens.pop_back();
  CHECK(summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", tokens))->fingerprint != own);
}

TEST(addedTokensComeWithTheirIdsAndKinds) {
  const auto summary = summaryOfAdded({"<|pad|>", "word", "[SEP]", "\xC4\xA0x"}, {3, 1, 4, -7});
  CHECK_EQUAL(summary.count, kGpt2Tokens + 4);
  checkAdded(
      summary,
      {{50257, 3, "<|pad|>"}, {50258, 1, "word"}, {50259, 4, "[SEP]"}, {50260, -7, "\xC4\xA0x"}});
}

TEST(tokensAreNormalByDefault) {
  GgufBuilder builder;
  builder.strings("tokenizer.ggml.tokens", tokensWith({"<|pad|>"}));
  checkAdded(*summaryOf(builder), {{50257, 1, "<|pad|>"}});
}

TEST(paddingIsNotCounted) {
  // Padding has the kind "unused" or the name [PAD<id>]. [PAD] is an ordinary token.
  const auto summary = summaryOfAdded({"[PAD50257]", "unused", "[PAD]", "[PAD50257]", "[PAD50261]"},
                                      {1, 5, 3, 3, 5});
  CHECK_EQUAL(summary.count, kGpt2Tokens + 2);
  checkAdded(summary, {{50259, 3, "[PAD]"}, {50260, 3, "[PAD50257]"}});
  const auto small = summaryOf(GgufBuilder().strings("tokenizer.ggml.tokens", {"a", "[PAD1]"}));
  CHECK_EQUAL(small->count, 1U);
}

TEST(tokensBeyondTheEmbeddingAreIgnored) {
  checkAdded(summaryOfAdded({"a", "b", "c"}, {3, 3, 3}, kGpt2Tokens + 2),
             {{50257, 3, "a"}, {50258, 3, "b"}});
  CHECK_EQUAL(summaryOfAdded({"a"}, {3}, kGpt2Tokens).count, kGpt2Tokens);
  CHECK_EQUAL(summaryOfAdded({"a"}, {3}, 7).count, 7U);
  checkAdded(summaryOfAdded({"a"}, {3}, 0), {});
}

TEST(namesMayBeAnyBytes) {
  const std::string zero("\0<", 2);
  const auto summary =
      summaryOfAdded({"", "t", "<x>", "<x>", "\xff\xc3", zero}, {3, 4, 3, 4, 3, 3});
  checkAdded(summary, {{50257, 3, ""},
                       {50258, 4, "t"},
                       {50259, 3, "<x>"},
                       {50260, 4, "<x>"},
                       {50261, 3, "\xff\xc3"},
                       {50262, 3, zero}});
}

TEST(mergesAreCounted) {
  GgufBuilder builder;
  builder.strings("tokenizer.ggml.tokens", {"a", "b", "ab"});
  CHECK_EQUAL(summaryOf(builder)->mergeCount, 0U);
  builder.strings("tokenizer.ggml.merges", {"a b", "ab a"});
  CHECK_EQUAL(summaryOf(builder)->mergeCount, 2U);
}

TEST(limitsTheNumberOfAddedTokens) {
  std::vector<std::string> added(kMaxAddedTokens, "x");
  std::vector<int32_t> kinds(kMaxAddedTokens, 4);
  CHECK_EQUAL(summaryOfAdded(added, kinds).added->size(), kMaxAddedTokens);
  // Padding between them does not count.
  added.emplace_back("[PAD" + std::to_string(kGpt2Tokens + added.size()) + "]");
  kinds.push_back(5);
  CHECK_EQUAL(summaryOfAdded(added, kinds).added->size(), kMaxAddedTokens);
  added.emplace_back("x");
  kinds.push_back(4);
  const auto summary = summaryOfAdded(added, kinds);
  CHECK(!summary.added);
  CHECK_EQUAL(summary.count, kGpt2Tokens + kMaxAddedTokens + 1);
}

TEST(limitsTheBytesOfAddedTokens) {
  CHECK(summaryOfAdded({std::string(kMaxAddedBytes - 2, 'x'), "yz"}, {3, 3}).added.has_value());
  CHECK(!summaryOfAdded({std::string(kMaxAddedBytes - 2, 'x'), "yz", "", "a"}, {3, 3, 3, 3}).added);
  CHECK(!summaryOfAdded({std::string(kMaxAddedBytes + 1, 'x')}, {3}).added);
}

TEST(rejectsKindsThatAreNotOneInt32PerToken) {
  const std::vector<std::string> tokens{"a", "b"};
  const auto check = [&](const std::function<void(GgufBuilder&)>& add) {
    GgufBuilder builder;
    builder.strings("tokenizer.ggml.tokens", tokens);
    add(builder);
    CHECK_ERROR(code::kInvalidFile, summaryOf(builder));
  };
  const std::string key = "tokenizer.ggml.token_type";
  for (const size_t count : {0, 1, 3}) {
    check([&](GgufBuilder& builder) { addKinds(builder, std::vector<int32_t>(count, 3)); });
  }
  check([&](GgufBuilder& builder) { builder.array(key, 0, 2, "\3\3"); });
  check([&](GgufBuilder& builder) { builder.array(key, 6, 2, raw(std::vector<float>(2, 3))); });
  check([&](GgufBuilder& builder) { builder.array(key, 11, 2, raw(std::vector<int64_t>(2, 3))); });
  check([&](GgufBuilder& builder) { builder.strings(key, tokens); });
  check([&](GgufBuilder& builder) { builder.metadata(key, kInt32, raw<int32_t>(3)); });
}

namespace {

constexpr uint32_t kUint32 = 4;
constexpr uint32_t kBool = 7;

std::vector<TokenizerSetting> settingsOf(const GgufBuilder& builder) {
  const TemporaryFile path(builder.bytes());
  return tokenizerSettings(GgufFile(path.path(), true));
}

}  // namespace

TEST(settingsAreTheSingleValuesOfTheTokenizer) {
  GgufBuilder builder;
  builder.string("general.name", "x").string("tokenizer.ggml.model", "gpt2");
  builder.strings("tokenizer.ggml.tokens", {"a"});
  builder.metadata("tokenizer.ggml.add_bos_token", kBool, "\1");
  builder.metadata("tokenizer.ggml.bos_token_id", kUint32, raw<uint32_t>(7));
  builder.string("tokenizer.chat_template", "no").string("gpt2_native.tokenizer_left_out", "why");
  const std::vector<TokenizerSetting> expected{{"tokenizer.ggml.model", "gpt2"},
                                               {"tokenizer.ggml.add_bos_token", true},
                                               {"tokenizer.ggml.bos_token_id", 7.0},
                                               {"gpt2_native.tokenizer_left_out", "why"}};
  CHECK(settingsOf(builder) == expected);
}

TEST(limitsTheSettings) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.a", std::string(kMaxSettingBytes, 'x'));
  builder.string("tokenizer.ggml.b", std::string(kMaxSettingBytes + 1, 'x'));
  CHECK_EQUAL(settingsOf(builder).size(), 1U);
  for (int i = 0; i < 100; ++i) builder.string("tokenizer.ggml." + std::to_string(i), "");
  CHECK_EQUAL(settingsOf(builder).size(), kMaxTokenizerSettings);
}

TEST(readsAnyTokensBeyondGpt2s) {
  RandomNumbers random(1);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> added;
    std::vector<int32_t> kinds;
    for (int i = 0; i < 50; ++i) {
      std::string text(random.below(4), '\0');
      for (char& c : text) c = static_cast<char>(random.below(256));
      added.push_back(std::move(text));
      kinds.push_back(static_cast<int32_t>(random.below(7)));
    }
    const auto summary = summaryOfAdded(added, kinds, kGpt2Tokens + random.below(60));
    for (const AddedToken& token : *summary.added) {
      const size_t index = token.id - kGpt2Tokens;
      CHECK(token.text == added.at(index));
      CHECK_EQUAL(token.kind, kinds.at(index));
      CHECK(token.kind != 5);
    }
  }
}
