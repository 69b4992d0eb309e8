#include "model/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace gpt2 {

namespace {

// FNV-1a (Fowler, Noll, Vo), of whole words. Equal hashes are told apart by the tokens themselves.
uint64_t hashOf(const KvBlockPtr& previous, const uint32_t* tokens) {
  constexpr uint64_t kOffset = 14695981039346656037U;
  constexpr uint64_t kPrime = 1099511628211U;
  uint64_t hash = (kOffset ^ reinterpret_cast<uintptr_t>(previous.get())) * kPrime;
  for (int64_t i = 0; i < KvBlock::kPositions; ++i) hash = (hash ^ tokens[i]) * kPrime;
  return hash;
}

}  // namespace

KvBlockPtr PrefixCache::find(const KvBlockPtr& previous, const uint32_t* tokens) {
  const auto [begin, end] = blocks_.equal_range(hashOf(previous, tokens));
  for (auto found = begin; found != end; ++found) {
    const KvBlockPtr& block = found->second;
    if (block->previous != previous) continue;
    if (!std::equal(block->tokens.begin(), block->tokens.end(), tokens)) continue;
    block->lastUse = ++uses_;
    return block;
  }
  return nullptr;
}

KvBlockPtr PrefixCache::add(KvBlockPtr block, const KvBlockPtr& previous, const uint32_t* tokens) {
  if (KvBlockPtr equal = find(previous, tokens)) return equal;
  blocks_.emplace(hashOf(previous, tokens), block);
  std::copy_n(tokens, KvBlock::kPositions, block->tokens.begin());
  block->previous = previous;
  block->isFindable = true;
  block->lastUse = ++uses_;
  return block;
}

bool PrefixCache::dropOldest() noexcept {
  auto oldest = blocks_.end();
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
    const KvBlockPtr& block = it->second;
    // A block that another one follows has a second owner.
    if (block->sequences != 0 || block.use_count() != 1) continue;
    if (oldest == blocks_.end() || block->lastUse < oldest->second->lastUse) oldest = it;
  }
  if (oldest == blocks_.end()) return false;
  blocks_.erase(oldest);
  return true;
}

void PrefixCache::trim(int64_t count) noexcept {
  for (int64_t left = unused(); left > count && dropOldest(); --left) continue;
}

int64_t PrefixCache::unused() const noexcept {
  return std::count_if(blocks_.begin(), blocks_.end(),
                       [](const auto& entry) { return entry.second->sequences == 0; });
}

}  // namespace gpt2
