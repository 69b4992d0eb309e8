#pragma once

#include <cstdint>
#include <unordered_map>

#include "ops/kv_block.h"

namespace gpt2 {

// Finds full blocks by the tokens of their positions and all positions before. It keeps those that
// no sequence holds any more, for requests to come, until it is trimmed.
//
// A block in here refers to the block before it, so the last block of a sequence is dropped first.
class PrefixCache {
 public:
  // The block of these KvBlock::kPositions tokens after the positions of `previous`, which is null
  // at the beginning; or null.
  KvBlockPtr find(const KvBlockPtr& previous, const uint32_t* tokens);

  // Lets others find a full block. Returns the block that they find: this one, or an equal one that
  // was there before. Throws std::bad_alloc.
  KvBlockPtr add(KvBlockPtr block, const KvBlockPtr& previous, const uint32_t* tokens);

  // Drops the block that was used least recently of those that no sequence holds. Returns false if
  // there is none.
  bool dropOldest() noexcept;
  // Drops such blocks until at most `count` are left.
  void trim(int64_t count) noexcept;
  int64_t unused() const noexcept;

 private:
  std::unordered_multimap<uint64_t, KvBlockPtr> blocks_;  // by the hash of what they are found by
  uint64_t uses_ = 0;
};

}  // namespace gpt2
