#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "text/token_trie.h"

namespace gpt2 {

// Finds strings that stop a generation in the bytes of its tokens, and holds back the tokens that
// may belong to one.
class StopStrings {
 public:
  StopStrings(const std::vector<std::string>& strings, std::shared_ptr<const TokenTrie> trie);

  // Appends a token. Returns whether one of the strings ends in it: the one that ends first, or the
  // longest of those. Without strings, nothing is found and nothing held back. Unless the token may
  // end the text, strings that end in it do not count.
  bool push(uint32_t token, bool mayEnd = true);

  // The number of the last tokens, appended and not yet released, that may belong to a string.
  size_t held() const noexcept { return held_; }

  // After push() has returned true:
  const std::string& found() const noexcept { return matchers_[found_].string(); }
  // The number of the last tokens that the string begins in or follows.
  size_t foundTokens() const noexcept { return held_; }
  // Tokens that spell the text between the first of these and the string.
  std::vector<uint32_t> tokensBefore() const;

 private:
  void releaseBefore(size_t position);

  std::vector<StringMatcher> matchers_;
  std::vector<size_t> states_;  // of the matchers
  std::shared_ptr<const TokenTrie> trie_;
  std::string text_;                 // of the tokens held back
  std::deque<size_t> tokenLengths_;  // of these tokens, in bytes
  size_t held_ = 0;
  size_t found_ = 0;
  size_t foundAt_ = 0;  // where the string begins in text_
};

}  // namespace gpt2
