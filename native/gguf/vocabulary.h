#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// A token beyond GPT-2's 50,257.
struct AddedToken {
  uint64_t id;
  int32_t kind;  // GGUF's tokenizer.ggml.token_type
  std::string text;
};

// Identifies a file's vocabulary and lists its tokens beyond GPT-2's. Padding up to the size of the
// embedding is not counted: tokens of the kind "unused", and tokens spelt [PAD<id>], as llama.cpp's
// converter writes them.
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

}  // namespace gpt2
