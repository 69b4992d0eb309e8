#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gguf_file.h"

namespace gpt2 {

// Enough of a file's vocabulary to know which one it is. Tokens that only fill it up to the size of
// the embedding, spelt [PAD…] as llama.cpp's converter does, do not count.
struct VocabularySummary {
  uint64_t count;
  std::string fingerprint;  // 16 hexadecimal digits
};

// Of the tokens in a file's metadata; nothing if it names none.
std::optional<VocabularySummary> summarizeVocabulary(const GgufFile& file);

}  // namespace gpt2
