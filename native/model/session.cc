#include "model/session.h"

#include <algorithm>
#include <exception>

namespace gpt2 {

void Session::append(const std::vector<uint32_t>& tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void Session::rewind(int64_t length) {
  tokens_.resize(static_cast<size_t>(length));
  evaluated_ = std::min(evaluated_, length);
}

void Session::copyFrom(const Session& other) {
  evaluated_ = 0;
  try {
    tokens_ = other.tokens_;
    cache_.copyFrom(other.cache_, other.evaluated_);
    evaluated_ = other.evaluated_;
  } catch (const std::exception&) {
    // The next call evaluates the tokens, and says so if there is no memory then either.
  }
}

}  // namespace gpt2
