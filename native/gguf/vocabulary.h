#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// A token that somebody added to GPT-2's.
struct AddedToken {
  uint64_t id;
  int32_t kind;  // GGUF's tokenizer.ggml.token_type
  std::string text;
};

// Enough of a file's vocabulary to know which one it is, and what it has beyond GPT-2's. Tokens
// that only fill it up to the size of the embedding do not count: those of the kind "unused", and
// those spelt [PAD<id>] as llama.cpp's converter does.
struct VocabularySummary {
  uint64_t count;
  std::string fingerprint;  // 16 hexadecimal digits, of as many tokens as GPT-2 has
  uint64_t mergeCount;
  // By id; nothing if they are more, or longer, than is handed over.
  std::optional<std::vector<AddedToken>> added;
};

// At most so many tokens are handed over, and so many bytes of them, 16 for each: JavaScript takes
// them in one step, which that keeps short.
inline constexpr size_t kMostAddedTokens = 16'384;
inline constexpr size_t kMostAddedBytes = 262'144;

// Of the first `vocabSize` tokens in a file's metadata, which are those that the model has; nothing
// if it names none. Throws INVALID_FILE where what it says of their kinds is not of the format.
std::optional<VocabularySummary> summarizeVocabulary(const GgufFile& file, uint64_t vocabSize);

}  // namespace gpt2
