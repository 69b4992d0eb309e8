#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace gpt2 {

// Finds a string in a text that arrives byte by byte (Knuth, Morris & Pratt 1977). The state is the
// length of the longest beginning of the string that the text ends with. The string is found when
// the state is its length.
class StringMatcher {
 public:
  // The string has at least one byte.
  explicit StringMatcher(std::string string);

  const std::string& string() const noexcept { return string_; }
  bool isFound(size_t state) const noexcept { return state == string_.size(); }
  size_t next(size_t state, char byte) const noexcept;
  // The length of the longest beginning that is also an end of so many bytes, but shorter.
  size_t shorter(size_t state) const noexcept { return back_[state]; }

 private:
  std::string string_;
  // For each length, the state to go back to: that of the longest beginning which is also a proper
  // end of so many bytes.
  std::vector<size_t> back_;
};

}  // namespace gpt2
