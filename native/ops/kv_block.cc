#include "ops/kv_block.h"

#include <utility>

namespace gpt2 {

namespace {

// Linux maps memory at the beginning of a large page if its size is a multiple of one.
size_t roundUpToLargePages(size_t size) {
  constexpr size_t kLargePage = size_t{2} << 20;
  return size < kLargePage ? size : (size + kLargePage - 1) / kLargePage * kLargePage;
}

}  // namespace

KvBlockPool::KvBlockPool(Device& device, const KvCacheShape& shape, ggml_type type,
                         int64_t maxSpare)
    : device_(device), shape_(shape), type_(type) {
  state_->maxSpare = static_cast<size_t>(maxSpare);
  state_->spare.reserve(state_->maxSpare);
}

void KvBlockPool::State::keepOrFree(KvBlock* dropped) noexcept {
  std::unique_ptr<KvBlock> block(dropped);
  block->isFindable = false;
  block->previous.reset();
  const std::lock_guard<std::mutex> lock(mutex);
  --live;
  if (spare.size() < maxSpare) spare.push_back(std::move(block));
}

std::unique_ptr<KvBlock> KvBlockPool::makeBlock() const {
  const AttentionShape& attention = shape_.attention;
  auto block = std::make_unique<KvBlock>();
  ggml_context* context = block->context.get();
  block->keys = ggml_new_tensor_4d(context, type_, KvBlock::kPositions, attention.headSize(),
                                   attention.headCount, shape_.layerCount);
  block->values = ggml_new_tensor_4d(context, type_, attention.headSize(), KvBlock::kPositions,
                                     attention.headCount, shape_.layerCount);
  if (device_.isCpu()) {
    block->pages = Pages(roundUpToLargePages(blockBytes()));
    preferLargePages(block->pages.data(), blockBytes());
    block->buffer = device_.place(context, block->pages.data(), blockBytes());
  } else {
    block->buffer = device_.allocate(context);
  }
  return block;
}

KvBlockPtr KvBlockPool::allocate() const {
  std::unique_ptr<KvBlock> block;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    if (!state_->spare.empty()) {
      block = std::move(state_->spare.back());
      state_->spare.pop_back();
    }
  }
  if (!block) block = makeBlock();
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    ++state_->live;
  }
  // Without memory for its count, a shared pointer passes the block to this function too.
  return {block.release(), [state = state_](KvBlock* dropped) { state->keepOrFree(dropped); }};
}

KvBlockPtr KvBlockPool::copyOf(const KvBlock& block) const {
  KvBlockPtr copy = allocate();
  ggml_backend_tensor_copy(block.keys, copy->keys);
  ggml_backend_tensor_copy(block.values, copy->values);
  return copy;
}

void KvBlockPool::dropSpare(int64_t count) const noexcept {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  while (static_cast<int64_t>(state_->spare.size()) > count) state_->spare.pop_back();
}

size_t KvBlockPool::blockBytes() const noexcept {
  const int64_t elements = 2 * KvBlock::kPositions * shape_.attention.width * shape_.layerCount;
  return ggml_row_size(type_, elements);
}

int64_t KvBlockPool::liveBlocks() const noexcept {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->live;
}

int64_t KvBlockPool::spareBlocks() const noexcept {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return static_cast<int64_t>(state_->spare.size());
}

}  // namespace gpt2
