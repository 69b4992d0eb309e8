#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf_file.h"

namespace gpt2 {

// The bytes that each token of a vocabulary stands for in a text. They may be part of a character.
class TokenBytes {
 public:
  // Reads the first `vocabSize` tokens in a file's metadata, which are the model's. Returns null if
  // there are none. Throws INVALID_FILE if the kinds of the tokens are malformed.
  static std::shared_ptr<const TokenBytes> read(const GgufFile& file, uint64_t vocabSize);

  explicit TokenBytes(const std::vector<std::string>& tokens);

  size_t size() const noexcept { return ends_.size(); }
  // Those of all tokens, one after the other.
  std::string_view bytes() const noexcept { return bytes_; }
  // The token that these bytes belong to, and where it begins there.
  struct Place {
    uint32_t token;
    size_t begin;
  };
  Place at(size_t position) const noexcept;

  // Empty for padding.
  std::string_view of(uint32_t token) const noexcept {
    const size_t begin = token == 0 ? 0 : ends_[token - 1];
    return std::string_view(bytes_).substr(begin, ends_[token] - begin);
  }

 private:
  TokenBytes() = default;

  std::string bytes_;
  std::vector<size_t> ends_;  // of the tokens, in bytes_
};

// The bytes that a text of byte-level BPE spells, appended to `bytes`. Returns false, and appends
// nothing, if one of its characters spells no byte.
bool appendSpelledBytes(std::string_view text, std::string& bytes);

}  // namespace gpt2
