#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/cache_memory.h"
#include "ops/kv_cache.h"

namespace gpt2 {

// A sequence of tokens, with the keys and values of those already evaluated. The last generated
// token is evaluated together with the tokens that follow it.
//
// Belongs to the worker thread: no lock guards it.
class Session {
 public:
  explicit Session(std::shared_ptr<CacheMemory> memory) : memory_(std::move(memory)) {
    memory_->add(this);
  }
  ~Session() { memory_->remove(this); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::vector<uint32_t>& tokens() const noexcept { return tokens_; }
  int64_t length() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  // The number of tokens whose keys and values are in the cache.
  int64_t evaluated() const noexcept { return cache_.length(); }
  KvCache& cache() noexcept { return cache_; }
  const KvCache& cache() const noexcept { return cache_; }

  void append(uint32_t token) { tokens_.push_back(token); }
  void append(const std::vector<uint32_t>& tokens);

  // Keeps the first `length` ≤ length() tokens, and their keys and values.
  void rewind(int64_t length);
  // Keeps the first `keep` tokens, and appends others. Throws INTERNAL if it has fewer, and
  // OUT_OF_MEMORY if those were lost.
  void replaceEnd(int64_t keep, const std::vector<uint32_t>& tokens);
  // Drops keys and values. The tokens are then evaluated again.
  void dropCache() noexcept { cache_.truncate(0); }

  // Becomes a copy of another session of the same model, which shares its keys and values until one
  // of them changes. Without memory for the blocks' list, copies the tokens alone, which the next
  // call evaluates again. Without memory for the tokens, the session is empty and hasLostTokens()
  // is true.
  void copyFrom(const Session& other) noexcept;
  bool hasLostTokens() const noexcept { return hasLostTokens_; }

  // Whether a request that has begun to evaluate uses the session; its cache is then not dropped.
  bool isInUse() const noexcept { return isInUse_; }
  void setInUse(bool isInUse) noexcept;
  // Later ones have larger numbers.
  uint64_t lastUse() const noexcept { return lastUse_; }

 private:
  std::shared_ptr<CacheMemory> memory_;
  std::vector<uint32_t> tokens_;
  bool hasLostTokens_ = false;
  bool isInUse_ = false;
  uint64_t lastUse_ = 0;
  KvCache cache_;
};

}  // namespace gpt2
