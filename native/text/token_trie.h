#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/token_bytes.h"
#include "text/string_matcher.h"

namespace gpt2 {

// A vocabulary's tokens as a trie of their bytes, which is stored as their sorted list: a node is a
// range of tokens with a common beginning. Tokens without bytes are left out.
class TokenTrie {
 public:
  explicit TokenTrie(std::shared_ptr<const TokenBytes> tokens);

  const TokenBytes& tokens() const noexcept { return *tokens_; }

  // The tokens that complete the string after a text that left the matcher in this state, apart
  // from those that contain the whole string.
  std::vector<uint32_t> completing(const StringMatcher& matcher, size_t state) const;
  // The tokens that contain the string.
  std::vector<uint32_t> containing(std::string_view string) const;

  // Tokens that together spell the text: in turn, the longest that the rest begins with. Stops in
  // front of a byte that no token has.
  std::vector<uint32_t> spell(std::string_view text) const;

 private:
  // The range of tokens, in sorted_, that begin with these bytes.
  std::pair<size_t, size_t> beginningWith(std::string_view bytes) const;
  // The longest token that the text begins with.
  std::optional<uint32_t> longestBeginning(std::string_view text) const;

  std::shared_ptr<const TokenBytes> tokens_;
  std::vector<uint32_t> sorted_;
};

}  // namespace gpt2
