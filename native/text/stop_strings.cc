#include "text/stop_strings.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace gpt2 {

StopStrings::StopStrings(const std::vector<std::string>& strings,
                         std::shared_ptr<const TokenTrie> trie)
    : matchers_(strings.begin(), strings.end()),
      states_(strings.size(), 0),
      trie_(std::move(trie)) {}

bool StopStrings::push(uint32_t token, bool mayEnd) {
  if (matchers_.empty()) return false;
  const std::string_view bytes = trie_->tokens().of(token);
  tokenLengths_.push_back(bytes.size());
  for (const char byte : bytes) {
    text_.push_back(byte);
    size_t longest = 0;
    for (size_t i = 0; i < matchers_.size(); ++i) {
      states_[i] = matchers_[i].next(states_[i], byte);
      if (matchers_[i].isFound(states_[i]) && states_[i] > longest) {
        longest = states_[i];
        found_ = i;
      }
    }
    if (longest == 0 || !mayEnd) continue;
    foundAt_ = text_.size() - longest;
    releaseBefore(foundAt_);
    return true;
  }
  releaseBefore(text_.size() - *std::max_element(states_.begin(), states_.end()));
  return false;
}

// Releases the tokens that end at or before this position. Tokens without bytes go with the token
// before them.
void StopStrings::releaseBefore(size_t position) {
  size_t released = 0;
  while (!tokenLengths_.empty() && released + tokenLengths_.front() <= position) {
    released += tokenLengths_.front();
    tokenLengths_.pop_front();
  }
  text_.erase(0, released);
  foundAt_ -= std::min(foundAt_, released);
  held_ = tokenLengths_.size();
}

std::vector<uint32_t> StopStrings::tokensBefore() const {
  return trie_->spell(std::string_view(text_).substr(0, foundAt_));
}

}  // namespace gpt2
