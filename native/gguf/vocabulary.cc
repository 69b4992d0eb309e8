#include "gguf/vocabulary.h"

#include <cstring>
#include <string_view>

namespace gpt2 {

namespace {

constexpr uint64_t kGpt2Tokens = 50'257;

// FNV-1a of 64 bits over tokens, each followed by a zero byte. No token of GPT-2's contains one,
// since the vocabulary spells bytes as printable characters.
class Fingerprint {
 public:
  void add(std::string_view token) {
    constexpr uint64_t kPrime = 0x100000001b3;
    for (const char c : token) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * kPrime;
    hash_ *= kPrime;
  }

  std::string text() const {
    constexpr int kDigits = 16;
    std::string digits(kDigits, '0');
    uint64_t rest = hash_;
    for (int i = kDigits - 1; i >= 0; --i, rest >>= 4U) {
      digits[static_cast<size_t>(i)] = "0123456789abcdef"[rest & 0xfU];
    }
    return digits;
  }

 private:
  uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace

TokenKinds::TokenKinds(const GgufFile& file, uint64_t count)
    : value_(file.find("tokenizer.ggml.token_type")) {
  if (value_ == nullptr) return;
  if (!value_->isArray || value_->type != GgufType::kInt32 || value_->count != count) {
    file.reject("expected tokenizer.ggml.token_type to be an array of " + std::to_string(count) +
                " whole numbers of 32 bits, one for each token");
  }
}

int32_t TokenKinds::of(uint64_t id) const {
  int32_t kind = kNormal;
  if (value_ != nullptr) std::memcpy(&kind, value_->data + id * sizeof kind, sizeof kind);
  return kind;
}

const MetadataValue* findTokens(const GgufFile& file) {
  const MetadataValue* tokens = file.find("tokenizer.ggml.tokens");
  const bool areTexts = tokens != nullptr && tokens->isArray && tokens->type == GgufType::kString;
  return areTexts ? tokens : nullptr;
}

bool isPadding(std::string_view token, uint64_t id, int32_t kind) {
  if (kind == kUnused) return true;
  constexpr std::string_view kStart = "[PAD";
  return token.substr(0, kStart.size()) == kStart &&
         token.substr(kStart.size()) == std::to_string(id) + "]";
}

std::optional<VocabularySummary> summarizeVocabulary(const GgufFile& file, uint64_t vocabSize) {
  const MetadataValue* tokens = findTokens(file);
  if (tokens == nullptr) return std::nullopt;
  const TokenKinds kinds(file, tokens->count);
  VocabularySummary summary{0, "", 0, std::vector<AddedToken>()};
  Fingerprint fingerprint;
  size_t addedBytes = 0;
  uint64_t next = 0;
  tokens->forEachString([&](std::string_view token) {
    const uint64_t id = next++;
    if (id >= vocabSize) return;
    if (id < kGpt2Tokens) fingerprint.add(token);
    const int32_t kind = kinds.of(id);
    if (isPadding(token, id, kind)) return;
    ++summary.count;
    if (id < kGpt2Tokens || !summary.added) return;
    addedBytes += token.size();
    if (summary.added->size() == kMaxAddedTokens || addedBytes > kMaxAddedBytes) {
      summary.added.reset();
    } else {
      summary.added->push_back({id, kind, std::string(token)});
    }
  });
  summary.fingerprint = fingerprint.text();
  const MetadataValue* merges = file.find("tokenizer.ggml.merges");
  if (merges != nullptr && merges->isArray) summary.mergeCount = merges->count;
  return summary;
}

std::vector<TokenizerSetting> tokenizerSettings(const GgufFile& file) {
  std::vector<TokenizerSetting> settings;
  for (const auto& [key, value] : file.metadata()) {
    const bool isSetting =
        key.rfind("tokenizer.ggml.", 0) == 0 || key.rfind("gpt2_native.tokenizer", 0) == 0;
    if (!isSetting || key.size() > kMaxSettingBytes) continue;
    if (settings.size() == kMaxTokenizerSettings) break;
    if (const auto text = value.string()) {
      if (text->size() <= kMaxSettingBytes) settings.emplace_back(key, std::string(*text));
    } else if (const auto number = value.number()) {
      if (value.type == GgufType::kBool) {
        settings.emplace_back(key, *number != 0);
      } else {
        settings.emplace_back(key, *number);
      }
    }
  }
  return settings;
}

}  // namespace gpt2
