#include "vocabulary.h"

namespace gpt2 {

// FNV-1a, 64 bits, over the tokens, each followed by a zero byte (which no token of GPT-2's holds,
// since its vocabulary spells bytes as printable characters).
std::optional<VocabularySummary> summarizeVocabulary(const GgufFile& file) {
  const MetadataValue* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens == nullptr || !tokens->isArray || tokens->type != GgufType::kString) {
    return std::nullopt;
  }
  constexpr uint64_t kPrime = 0x100000001b3;
  uint64_t hash = 0xcbf29ce484222325;
  uint64_t count = 0;
  tokens->forEachString([&](std::string_view token) {
    constexpr std::string_view kPadding = "[PAD";
    if (token.substr(0, kPadding.size()) == kPadding) return;
    for (const char c : token) hash = (hash ^ static_cast<uint8_t>(c)) * kPrime;
    hash *= kPrime;
    ++count;
  });
  constexpr int kDigits = 16;
  std::string fingerprint(kDigits, '0');
  for (int i = kDigits - 1; i >= 0; --i, hash >>= 4U) {
    fingerprint[static_cast<size_t>(i)] = "0123456789abcdef"[hash & 0xfU];
  }
  return VocabularySummary{count, fingerprint};
}

}  // namespace gpt2
