#include "text/string_matcher.h"

#include <utility>

namespace gpt2 {

StringMatcher::StringMatcher(std::string string) : string_(std::move(string)) {
  back_.assign(2, 0);
  for (size_t length = 1; length < string_.size(); ++length) {
    size_t state = back_[length];
    while (state > 0 && string_[state] != string_[length]) state = back_[state];
    back_.push_back(string_[state] == string_[length] ? state + 1 : 0);
  }
}

size_t StringMatcher::next(size_t state, char byte) const noexcept {
  if (state == string_.size()) state = back_[state];
  while (state > 0 && string_[state] != byte) state = back_[state];
  return string_[state] == byte ? state + 1 : 0;
}

}  // namespace gpt2
