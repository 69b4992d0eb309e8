#pragma once

#include <cstdint>
#include <vector>

#include "ops/kv_cache.h"

namespace gpt2 {

// A sequence of tokens and the keys and values of those that were evaluated. The last token that
// was generated has not been: it is evaluated together with what follows.
//
// Belongs to the worker thread: no lock guards it.
class Session {
 public:
  explicit Session(KvCache cache) : cache_(std::move(cache)) {}

  const std::vector<uint32_t>& tokens() const noexcept { return tokens_; }
  int64_t length() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  // How many of the tokens have their keys and values in the cache.
  int64_t evaluated() const noexcept { return evaluated_; }
  KvCache& cache() noexcept { return cache_; }
  const KvCache& cache() const noexcept { return cache_; }

  void append(uint32_t token) { tokens_.push_back(token); }
  void append(const std::vector<uint32_t>& tokens);
  void markEvaluated(int64_t count) noexcept { evaluated_ = count; }

  // Keeps the first `length` tokens; length ≤ length(). The evaluated part shrinks with them.
  void rewind(int64_t length);

  // Becomes a copy of another session of the same model. Without the memory for the other's keys
  // and values it copies the tokens alone, which are then evaluated again.
  void copyFrom(const Session& other);

 private:
  std::vector<uint32_t> tokens_;
  int64_t evaluated_ = 0;
  KvCache cache_;
};

}  // namespace gpt2
