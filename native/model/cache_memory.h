#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "model/prefix_cache.h"
#include "ops/kv_block.h"

namespace gpt2 {

class Session;

// The memory of the KV caches of a model's sessions: a budget of blocks, and those that sequences
// with an equal beginning share.
//
// If the budget is used up, blocks that no session holds are dropped, and then the caches of idle
// sessions, the longest idle first. Such a session keeps its tokens, and its next call evaluates
// them again.
//
// Belongs to the worker thread, except that sessions may be created and destroyed on any thread.
class CacheMemory {
 public:
  struct Options {
    size_t maxBytes;      // at least one block is granted
    int64_t maxUnused;    // blocks kept for requests to come, with their contents or without
    bool sharesPrefixes;  // whether sequences with an equal beginning share blocks
  };
  CacheMemory(const KvBlockPool& pool, const Options& options);

  void add(Session* session);
  void remove(Session* session) noexcept;

  // Whether the budget has room for this many more blocks. Drops what is not in use for that.
  bool makeRoom(int64_t blocks) noexcept { return makeRoom(blocks, nullptr); }

  // Makes the next `count` positions of a session writable. Throws OUT_OF_MEMORY.
  void prepare(Session& session, int64_t count);

  // Finds the keys and values of the session's next tokens, up to position `end`, in whole blocks.
  void adoptPrefix(Session& session, int64_t end) noexcept;
  // Lets others find the session's full blocks, if there is memory for that.
  void publish(Session& session) noexcept;

  // The number of a use of a session; ascending.
  uint64_t nextUse() noexcept { return ++uses_; }

  bool sharesPrefixes() const noexcept { return options_.sharesPrefixes; }
  // Both from any thread. Live blocks are those that sessions hold or could find.
  int64_t liveBlocks() const noexcept { return pool_.liveBlocks(); }
  size_t byteSize() const noexcept {
    return static_cast<size_t>(pool_.liveBlocks() + pool_.spareBlocks()) * pool_.blockBytes();
  }

 private:
  bool makeRoom(int64_t blocks, const Session* user) noexcept;
  // Keeps maxUnused blocks at most that no session holds, `count` of them without their contents.
  void trim(int64_t count) noexcept;
  // Drops an unused block or the cache of an idle session other than `user`.
  bool dropUnused(const Session* user) noexcept;

  KvBlockPool pool_;
  Options options_;
  int64_t maxBlocks_;
  uint64_t uses_ = 0;
  std::mutex mutex_;  // guards what follows
  PrefixCache prefixes_;
  std::unordered_set<Session*> sessions_;
};

}  // namespace gpt2
