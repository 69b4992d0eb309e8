#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/pages.h"
#include "base/tensor_context.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace gpt2 {

// The keys and values of kPositions consecutive positions of a sequence, for every layer. Blocks
// are shared by sequences with an equal beginning; a shared block is not written.
//
// The layout suits FusedOps, whose products are sums of rows: keys are stored by channel and values
// by position. A head's keys, and its values, lie together. StockOps gathers them in its own order.
struct KvBlock {
  static constexpr int64_t kPositions = 64;  // a multiple of tileColumns() at every level

  TensorContext context{2};
  Pages pages;  // on the CPU
  BufferPtr buffer;
  ggml_tensor* keys = nullptr;    // [kPositions, head size, heads, layers]
  ggml_tensor* values = nullptr;  // [head size, kPositions, heads, layers]

  std::atomic<int64_t> sequences{0};  // that hold this block

  // Set when the block is full and others can find it (PrefixCache).
  bool isFindable = false;
  std::array<uint32_t, kPositions> tokens{};
  std::shared_ptr<KvBlock> previous;  // the block of the positions before, or null
  uint64_t lastUse = 0;
};

using KvBlockPtr = std::shared_ptr<KvBlock>;

struct KvCacheShape {
  AttentionShape attention;
  int64_t layerCount;
};

// Allocates the blocks of a model's sequences, and counts them. A block may outlive the pool, and
// may be dropped on any thread.
class KvBlockPool {
 public:
  // type: f32 or f16. maxSpare: blocks that are kept for reuse when they are dropped. The first use
  // of new memory takes longer than storing a prompt's keys and values: a page fault for each 4 KB.
  KvBlockPool(Device& device, const KvCacheShape& shape, ggml_type type, int64_t maxSpare);

  // Both throw OUT_OF_MEMORY.
  KvBlockPtr allocate() const;
  KvBlockPtr copyOf(const KvBlock& block) const;
  // Frees spare blocks beyond this number.
  void dropSpare(int64_t count) const noexcept;

  size_t blockBytes() const noexcept;
  // Both from any thread.
  int64_t liveBlocks() const noexcept;
  int64_t spareBlocks() const noexcept;

 private:
  struct State {
    std::mutex mutex;
    int64_t live = 0;
    size_t maxSpare = 0;
    std::vector<std::unique_ptr<KvBlock>> spare;

    void keepOrFree(KvBlock* dropped) noexcept;
  };
  std::unique_ptr<KvBlock> makeBlock() const;

  Device& device_;
  KvCacheShape shape_;
  ggml_type type_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace gpt2
