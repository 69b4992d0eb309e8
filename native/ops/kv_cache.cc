#include "ops/kv_cache.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace gpt2 {

namespace {

constexpr int64_t kMinCapacity = 64;  // positions

}  // namespace

KvCache::KvCache(Device& device, const KvCacheShape& shape, ggml_type type)
    : device_(&device), shape_(shape), type_(type) {}

size_t KvCache::byteSize() const noexcept {
  return storage_.buffer ? ggml_backend_buffer_get_size(storage_.buffer.get()) : 0;
}

KvCache::Storage KvCache::allocate(int64_t capacity) const {
  const auto layers = static_cast<size_t>(shape_.layerCount);
  Storage storage;
  storage.context.emplace(2 * layers);
  ggml_context* context = storage.context->get();
  for (size_t i = 0; i < layers; ++i) {
    storage.byPosition.push_back(
        ggml_new_tensor_2d(context, type_, shape_.attention.width, capacity));
    storage.byChannel.push_back(
        ggml_new_tensor_2d(context, type_, capacity, shape_.attention.width));
  }
  storage.buffer = device_->allocate(context);
  return storage;
}

void KvCache::reserve(int64_t length, int64_t used) {
  if (length <= capacity_) return;
  // Doubling keeps the total cost of copying proportional to the length of the sequence.
  int64_t capacity = std::max(capacity_, kMinCapacity);
  while (capacity < length) capacity *= 2;
  capacity = std::min(capacity, shape_.maxLength);

  KvCache grown(*device_, shape_, type_);
  grown.storage_ = grown.allocate(capacity);
  grown.capacity_ = capacity;
  grown.copy(*this, used);
  *this = std::move(grown);
}

void KvCache::copyFrom(const KvCache& other, int64_t used) {
  reserve(used, 0);
  copy(other, used);
}

// The copy is a graph, which runs on every device.
void KvCache::copy(const KvCache& from, int64_t used) {
  if (used == 0) return;
  const auto layers = static_cast<size_t>(shape_.layerCount);
  constexpr size_t kTensorsPerLayer = 6;  // two source views, two target views and two copies
  const size_t nodes = kTensorsPerLayer * layers;
  const TensorContext context(nodes, nodes);
  ggml_cgraph* graph = ggml_new_graph_custom(context.get(), nodes, false);
  for (size_t i = 0; i < layers; ++i) {
    ggml_build_forward_expand(graph,
                              ggml_cpy(context.get(), from.byPosition(context.get(), i, 0, used),
                                       byPosition(context.get(), i, 0, used)));
    ggml_build_forward_expand(graph,
                              ggml_cpy(context.get(), from.byChannel(context.get(), i, 0, used),
                                       byChannel(context.get(), i, 0, used)));
  }
  AllocatorPtr allocator = device_->makeAllocator();  // allocates nothing, but binds the views
  device_->allocate(allocator, graph);
  device_->compute(graph, nullptr);
}

ggml_tensor* KvCache::byPosition(ggml_context* context, size_t layer, int64_t start,
                                 int64_t count) const {
  ggml_tensor* all = storage_.byPosition[layer];
  return ggml_view_2d(context, all, all->ne[0], count, all->nb[1],
                      static_cast<size_t>(start) * all->nb[1]);
}

ggml_tensor* KvCache::byChannel(ggml_context* context, size_t layer, int64_t start,
                                int64_t count) const {
  ggml_tensor* all = storage_.byChannel[layer];
  return ggml_view_2d(context, all, count, all->ne[1], all->nb[1],
                      static_cast<size_t>(start) * all->nb[0]);
}

ggml_tensor* KvCache::headsByPosition(ggml_context* context, size_t layer, int64_t length) const {
  ggml_tensor* all = storage_.byPosition[layer];
  const int64_t headSize = shape_.attention.headSize();
  return ggml_view_3d(context, all, headSize, length, shape_.attention.headCount, all->nb[1],
                      static_cast<size_t>(headSize) * all->nb[0], 0);
}

ggml_tensor* KvCache::headsByChannel(ggml_context* context, size_t layer, int64_t length) const {
  ggml_tensor* all = storage_.byChannel[layer];
  const int64_t headSize = shape_.attention.headSize();
  return ggml_view_3d(context, all, length, headSize, shape_.attention.headCount, all->nb[1],
                      static_cast<size_t>(headSize) * all->nb[1], 0);
}

}  // namespace gpt2
