#pragma once

#include <cstdint>
#include <vector>

#include "ops/kv_cache.h"

namespace gpt2 {

// A sequence of tokens, with the keys and values of those already evaluated. The last generated
// token is evaluated together with the tokens that follow it.
//
// Belongs to the worker thread: no lock guards it.
class Session {
 public:
  explicit Session(KvCache cache) : cache_(std::move(cache)) {}

  const std::vector<uint32_t>& tokens() const noexcept { return tokens_; }
  int64_t length() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  // The number of tokens whose keys and values are in the cache.
  int64_t evaluated() const noexcept { return evaluated_; }
  KvCache& cache() noexcept { return cache_; }
  const KvCache& cache() const noexcept { return cache_; }

  void append(uint32_t token) { tokens_.push_back(token); }
  void append(const std::vector<uint32_t>& tokens);
  void markEvaluated(int64_t count) noexcept { evaluated_ = count; }

  // Keeps the first `length` ≤ length() tokens, and their keys and values.
  void rewind(int64_t length);

  // Becomes a copy of another session of the same model. Without memory for the keys and values,
  // copies the tokens alone, which the next call evaluates again. Without memory for the tokens,
  // the session is empty and hasLostTokens() is true.
  void copyFrom(const Session& other) noexcept;
  bool hasLostTokens() const noexcept { return hasLostTokens_; }

 private:
  std::vector<uint32_t> tokens_;
  int64_t evaluated_ = 0;
  bool hasLostTokens_ = false;
  KvCache cache_;
};

}  // namespace gpt2
