#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// GGUF's tokenizer.ggml.token_type.
enum TokenKind : int32_t { kNormal = 1, kUnused = 5 };

// The kinds of a file's tokens. All are normal if the file has no kinds.
class TokenKinds {
 public:
  // count: of tokens. Throws INVALID_FILE if the kinds are malformed.
  TokenKinds(const GgufFile& file, uint64_t count);
  int32_t of(uint64_t id) const;

 private:
  const MetadataValue* value_;
};

// The spelling of the tokens in a file's metadata, or null if it has none.
const MetadataValue* findTokens(const GgufFile& file);

// Whether a token pads the vocabulary up to the size of the embedding: it has the kind "unused", or
// is spelt [PAD<id>], as llama.cpp's converter writes it.
bool isPadding(std::string_view token, uint64_t id, int32_t kind);

// A token beyond GPT-2's 50,257.
struct AddedToken {
  uint64_t id;
  int32_t kind;  // a TokenKind, or another number
  std::string text;
};

// Identifies a file's vocabulary and lists its tokens beyond GPT-2's, without padding.
struct VocabularySummary {
  uint64_t count;
  std::string fingerprint;  // 16 hexadecimal digits, over the first 50,257 tokens
  uint64_t mergeCount;
  // By id; absent if they exceed the limits below.
  std::optional<std::vector<AddedToken>> added;
};

// Limits of the added tokens: their number, and their bytes, 16 per token. They are converted to
// JavaScript in one step, which the limits keep short.
inline constexpr size_t kMaxAddedTokens = 16'384;
inline constexpr size_t kMaxAddedBytes = 262'144;

// Summarises the first `vocabSize` tokens in a file's metadata, which are the model's. Returns
// nothing if the metadata has no tokens. Throws INVALID_FILE if the kinds of the tokens are
// malformed.
std::optional<VocabularySummary> summarizeVocabulary(const GgufFile& file, uint64_t vocabSize);

// A setting of the tokenizer, with its key.
using TokenizerSetting = std::pair<std::string, std::variant<std::string, bool, double>>;

// Limits of the settings: their number, and the bytes of a text.
inline constexpr size_t kMaxTokenizerSettings = 64;
inline constexpr size_t kMaxSettingBytes = 4096;

// The single values in a file's metadata whose keys begin with "tokenizer.ggml." or
// "gpt2_native.tokenizer", within the limits.
std::vector<TokenizerSetting> tokenizerSettings(const GgufFile& file);

}  // namespace gpt2
