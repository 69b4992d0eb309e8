#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/kv_block.h"

namespace gpt2 {

// The keys and values of one sequence, in blocks.
class KvCache {
 public:
  KvCache() = default;
  ~KvCache() { truncate(0); }
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // The number of positions whose keys and values are stored.
  int64_t length() const noexcept { return length_; }
  // Those of the first length() positions and of the positions that were prepared.
  const std::vector<KvBlockPtr>& blocks() const noexcept { return blocks_; }

  // The number of blocks that prepare() allocates.
  int64_t missingBlocks(int64_t count) const noexcept;
  // Makes the `count` positions from length() on writable: allocates blocks, and copies the last
  // one if others hold it. Throws OUT_OF_MEMORY.
  void prepare(int64_t count, const KvBlockPool& pool);
  // Counts prepared positions as stored.
  void advance(int64_t count) noexcept { length_ += count; }

  // Keeps the first `length` positions and the blocks that hold them.
  void truncate(int64_t length) noexcept;
  // Holds the blocks of another cache instead. Throws std::bad_alloc and is then empty.
  void share(const KvCache& other);

  // The number of blocks that are full.
  int64_t fullBlocks() const noexcept { return length_ / KvBlock::kPositions; }
  // Replaces the block at `index` ≤ fullBlocks() by a full one. Longer positions are dropped if it
  // was not full. Throws std::bad_alloc.
  void adopt(int64_t index, KvBlockPtr block);

 private:
  bool isWritable(size_t index) const noexcept { return blocks_[index].use_count() == 1; }

  std::vector<KvBlockPtr> blocks_;
  int64_t length_ = 0;
};

// A range of positions in a sequence's cache, which are prepared.
struct CacheSpan {
  const KvCache* cache;
  int64_t start;
  int64_t count;
};

}  // namespace gpt2
