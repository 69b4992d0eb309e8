#include "model/session.h"

#include <exception>
#include <string>

#include "base/error.h"

namespace gpt2 {

void Session::append(const std::vector<uint32_t>& tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

void Session::rewind(int64_t length) {
  if (length < 0 || length > this->length()) {
    throw Error(code::kInternal, "Expected to keep up to " + std::to_string(this->length()) +
                                     " tokens of a session but received " + std::to_string(length));
  }
  tokens_.resize(static_cast<size_t>(length));
  cache_.truncate(length);
}

void Session::replaceEnd(int64_t keep, const std::vector<uint32_t>& tokens) {
  if (keep < 0 || keep > length()) {
    if (hasLostTokens_) {
      throw Error(code::kOutOfMemory,
                  "there was no memory to copy the session's tokens when it was forked");
    }
    throw Error(code::kInternal, "Expected a session of at least " + std::to_string(keep) +
                                     " tokens but it has " + std::to_string(length()));
  }
  rewind(keep);
  append(tokens);
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
