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
}

std::pair<size_t, size_t> TokenTrie::beginningWith(std::string_view bytes) const {
  const auto startOf = [&](uint32_t token) { return tokens_->of(token).substr(0, bytes.size()); };
  const auto first = std::lower_bound(
      sorted_.begin(), sorted_.end(), bytes,
      [&](uint32_t token, std::string_view sought) { return startOf(token) < sought; });
  const auto last = std::upper_bound(
      first, sorted_.end(), bytes,
      [&](std::string_view sought, uint32_t token) { return sought < startOf(token); });
  return {static_cast<size_t>(first - sorted_.begin()),
          static_cast<size_t>(last - sorted_.begin())};
}

// The text ends with each beginning of the string that is an end of the matcher's; a token
// completes it that begins with the rest.
std::vector<uint32_t> TokenTrie::completing(const StringMatcher& matcher, size_t state) const {
  std::vector<uint32_t> found;
  if (matcher.isFound(state)) state = matcher.shorter(state);
  for (; state > 0; state = matcher.shorter(state)) {
    const auto [first, last] = beginningWith(std::string_view(matcher.string()).substr(state));
    for (size_t i = first; i < last; ++i) found.push_back(sorted_[i]);
  }
  return found;
}

std::vector<uint32_t> TokenTrie::containing(std::string_view string) const {
  std::vector<uint32_t> found;
  const std::string_view all = tokens_->bytes();
  for (size_t at = all.find(string); at != std::string_view::npos; at = all.find(string, at + 1)) {
    const auto [token, begin] = tokens_->at(at);
    const size_t end = begin + tokens_->of(token).size();
    if (at + string.size() > end) continue;  // it goes on in the next token
    found.push_back(token);
    at = end - 1;  // one occurrence is enough
  }
  return found;
}

std::optional<uint32_t> TokenTrie::longestBeginning(std::string_view text) const {
  std::optional<uint32_t> longest;
  for (size_t length = 1; length <= text.size(); ++length) {
    const auto [first, last] = beginningWith(text.substr(0, length));
    if (first == last) break;
    if (tokens_->of(sorted_[first]).size() == length) longest = sorted_[first];
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
