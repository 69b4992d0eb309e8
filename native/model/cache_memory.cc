#include "model/cache_memory.h"

#include <algorithm>
#include <new>
#include <string>

#include "base/error.h"
#include "model/session.h"

namespace gpt2 {

namespace {

int64_t blocksIn(size_t bytes, const KvBlockPool& pool) {
  return std::max<int64_t>(static_cast<int64_t>(bytes / pool.blockBytes()), 1);
}

}  // namespace

CacheMemory::CacheMemory(const KvBlockPool& pool, const Options& options)
    : pool_(pool), options_(options), maxBlocks_(blocksIn(options.maxBytes, pool)) {}

void CacheMemory::add(Session* session) {
  const std::lock_guard<std::mutex> lock(mutex_);
  sessions_.insert(session);
}

void CacheMemory::remove(Session* session) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  sessions_.erase(session);
  session->dropCache();
  trim(0);
}

void CacheMemory::trim(int64_t count) noexcept {
  prefixes_.trim(std::max<int64_t>(options_.maxUnused - count, 0));
  pool_.dropSpare(options_.maxUnused - prefixes_.unused());
}

bool CacheMemory::makeRoom(int64_t blocks, const Session* user) noexcept {
  while (pool_.liveBlocks() + blocks > maxBlocks_) {
    if (!dropUnused(user)) return false;
  }
  return true;
}

bool CacheMemory::dropUnused(const Session* user) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (prefixes_.dropOldest()) return true;
  Session* oldest = nullptr;
  for (Session* session : sessions_) {
    if (session == user || session->isInUse() || session->cache().blocks().empty()) continue;
    if (oldest == nullptr || session->lastUse() < oldest->lastUse()) oldest = session;
  }
  if (oldest == nullptr) return false;
  oldest->dropCache();
  return true;
}

void CacheMemory::prepare(Session& session, int64_t count) {
  const int64_t missing = session.cache().missingBlocks(count);
  if (missing == 0) return;
  if (pool_.spareBlocks() < missing) {
    // Memory of blocks that were kept is reused before new memory is taken.
    const std::lock_guard<std::mutex> lock(mutex_);
    trim(missing);
  }
  if (!makeRoom(missing, &session)) {
    throw Error(code::kOutOfMemory,
                "Expected sequences of together at most " +
                    std::to_string(maxBlocks_ * KvBlock::kPositions) +
                    " positions, which is what the memory for KV caches (cacheMemory) holds");
  }
  for (;;) {
    try {
      session.cache().prepare(count, pool_);
      return;
    } catch (const std::bad_alloc&) {
      if (!dropUnused(&session)) throw;
    } catch (const Error&) {  // OUT_OF_MEMORY
      if (!dropUnused(&session)) throw;
    }
  }
}

void CacheMemory::adoptPrefix(Session& session, int64_t end) noexcept {
  if (!options_.sharesPrefixes) return;
  KvCache& cache = session.cache();
  const std::lock_guard<std::mutex> lock(mutex_);
  for (int64_t index = cache.fullBlocks(); (index + 1) * KvBlock::kPositions <= end; ++index) {
    const KvBlockPtr previous =
        index == 0 ? nullptr : cache.blocks()[static_cast<size_t>(index - 1)];
    KvBlockPtr block =
        prefixes_.find(previous, session.tokens().data() + index * KvBlock::kPositions);
    if (!block) return;
    try {
      cache.adopt(index, std::move(block));
    } catch (const std::bad_alloc&) {
      return;  // the tokens are evaluated
    }
  }
}

void CacheMemory::publish(Session& session) noexcept {
  if (!options_.sharesPrefixes) return;
  KvCache& cache = session.cache();
  const int64_t full = cache.fullBlocks();
  int64_t index = full;
  while (index > 0 && !cache.blocks()[static_cast<size_t>(index - 1)]->isFindable) --index;
  if (index == full) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    for (; index < full; ++index) {
      const auto place = static_cast<size_t>(index);
      const KvBlockPtr previous = place == 0 ? nullptr : cache.blocks()[place - 1];
      const uint32_t* tokens = session.tokens().data() + index * KvBlock::kPositions;
      cache.adopt(index, prefixes_.add(cache.blocks()[place], previous, tokens));
    }
  } catch (const std::bad_alloc&) {
    // The blocks stay the session's own.
  }
  trim(0);
}

}  // namespace gpt2
