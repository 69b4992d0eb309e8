#include "model/session.h"

#include <exception>

namespace gpt2 {

void Session::append(const std::vector<uint32_t>& tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void Session::rewind(int64_t length) {
  tokens_.resize(static_cast<size_t>(length));
  cache_.truncate(length);
}

void Session::setInUse(bool isInUse) noexcept {
  isInUse_ = isInUse;
  lastUse_ = memory_->nextUse();
}

void Session::copyFrom(const Session& other) noexcept {
  tokens_.clear();
  dropCache();
  hasLostTokens_ = true;
  try {
    tokens_ = other.tokens_;
    hasLostTokens_ = other.hasLostTokens_;
    cache_.share(other.cache_);
  } catch (const std::exception&) {
    // The next call evaluates the tokens, and reports the lack of memory if it lasts.
  }
}

}  // namespace gpt2
