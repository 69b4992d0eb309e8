#include "text/token_trie.h"

#include <algorithm>
#include <string>
#include <utility>

namespace gpt2 {

TokenTrie::TokenTrie(std::shared_ptr<const TokenBytes> tokens) : tokens_(std::move(tokens)) {
  for (uint32_t token = 0; token < tokens_->size(); ++token) {
    if (!tokens_->of(token).empty()) sorted_.push_back(token);
  }
  // Stable, so that the first of several tokens with the same bytes comes first.
  std::stable_sort(sorted_.begin(), sorted_.end(),
                   [this](uint32_t a, uint32_t b) { return tokens_->of(a) < tokens_->of(b); });
  common_.reserve(sorted_.size());
  std::string_view before;
  for (const uint32_t token : sorted_) {
    const std::string_view bytes = tokens_->of(token);
    const size_t shorter = std::min(before.size(), bytes.size());
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(shorter);
    common_.push_back(static_cast<size_t>(std::mismatch(bytes.begin(), end, before.begin()).first -
                                          bytes.begin()));
    before = bytes;
  }
}

std::vector<uint32_t> TokenTrie::completing(const StringMatcher& matcher, size_t state) const {
  std::vector<uint32_t> found;
  std::vector<size_t> states{state};  // after each byte of the token before, up to a completion
  for (size_t i = 0; i < sorted_.size(); ++i) {
    const std::string_view bytes = tokens_->of(sorted_[i]);
    if (states.size() > common_[i] + 1) states.resize(common_[i] + 1);
    while (states.size() <= bytes.size() &&
           !(states.size() > 1 && matcher.isFound(states.back()))) {
      states.push_back(matcher.next(states.back(), bytes[states.size() - 1]));
    }
    if (states.size() > 1 && matcher.isFound(states.back())) found.push_back(sorted_[i]);
  }
  return found;
}

std::vector<uint32_t> TokenTrie::containing(std::string_view string) const {
  return completing(StringMatcher(std::string(string)), 0);
}

std::optional<uint32_t> TokenTrie::longestBeginning(std::string_view text) const {
  std::optional<uint32_t> longest;
  auto first = sorted_.begin();
  auto last = sorted_.end();
  for (size_t length = 1; length <= text.size(); ++length) {
    const std::string_view beginning = text.substr(0, length);
    const auto startOf = [&](uint32_t token) { return tokens_->of(token).substr(0, length); };
    first = std::lower_bound(first, last, beginning, [&](uint32_t token, std::string_view sought) {
      return startOf(token) < sought;
    });
    last = std::upper_bound(first, last, beginning, [&](std::string_view sought, uint32_t token) {
      return sought < startOf(token);
    });
    if (first == last) break;
    if (tokens_->of(*first).size() == length) longest = *first;
  }
  return longest;
}

std::vector<uint32_t> TokenTrie::spell(std::string_view text) const {
  std::vector<uint32_t> spelled;
  while (!text.empty()) {
    const std::optional<uint32_t> token = longestBeginning(text);
    if (!token) break;
    spelled.push_back(*token);
    text.remove_prefix(tokens_->of(*token).size());
  }
  return spelled;
}

}  // namespace gpt2
