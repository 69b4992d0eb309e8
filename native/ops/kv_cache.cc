#include "ops/kv_cache.h"

#include <algorithm>
#include <utility>

namespace gpt2 {

namespace {

int64_t blocksFor(int64_t length) {
  return (length + KvBlock::kPositions - 1) / KvBlock::kPositions;
}

}  // namespace

int64_t KvCache::missingBlocks(int64_t count) const noexcept {
  if (count == 0) return 0;
  const auto held = static_cast<int64_t>(blocks_.size());
  int64_t missing = std::max<int64_t>(blocksFor(length_ + count) - held, 0);
  if (fullBlocks() < held && !isWritable(static_cast<size_t>(fullBlocks()))) ++missing;
  return missing;
}

void KvCache::prepare(int64_t count, const KvBlockPool& pool) {
  const auto first = static_cast<size_t>(fullBlocks());
  if (count > 0 && first < blocks_.size() && !isWritable(first)) {
    KvBlockPtr copy = pool.copyOf(*blocks_[first]);
    ++copy->sequences;
    --blocks_[first]->sequences;
    blocks_[first] = std::move(copy);
  }
  const auto needed = static_cast<size_t>(blocksFor(length_ + count));
  blocks_.reserve(needed);
  while (blocks_.size() < needed) {
    blocks_.push_back(pool.allocate());
    ++blocks_.back()->sequences;
  }
}

void KvCache::truncate(int64_t length) noexcept {
  length_ = std::min(length_, length);
  while (static_cast<int64_t>(blocks_.size()) > blocksFor(length_)) {
    --blocks_.back()->sequences;
    blocks_.pop_back();
  }
}

void KvCache::share(const KvCache& other) {
  truncate(0);
  const int64_t count = blocksFor(other.length_);
  blocks_.assign(other.blocks_.begin(), other.blocks_.begin() + count);
  for (const KvBlockPtr& block : blocks_) ++block->sequences;
  length_ = other.length_;
}

void KvCache::adopt(int64_t index, KvBlockPtr block) {
  const auto place = static_cast<size_t>(index);
  if (place == blocks_.size()) blocks_.emplace_back();
  if (blocks_[place]) --blocks_[place]->sequences;
  blocks_[place] = std::move(block);
  ++blocks_[place]->sequences;
  length_ = std::max(length_, (index + 1) * KvBlock::kPositions);
}

}  // namespace gpt2
