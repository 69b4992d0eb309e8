#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/tensor_context.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace gpt2 {

struct KvCacheShape {
  AttentionShape attention;
  int64_t layerCount;
  int64_t maxLength;  // positions: the model's context length
};

// The keys and values of one sequence, for every layer; grows with the sequence.
//
// Each layer has two tensors: `byPosition`, [width, capacity], has a row for each position;
// `byChannel`, [capacity, width], has a row for each of the `width` channels. Each operator set
// decides which of the two holds the keys and which the values, to suit its matrix products.
class KvCache {
 public:
  KvCache(Device& device, const KvCacheShape& shape, ggml_type type);

  int64_t capacity() const noexcept { return capacity_; }  // in positions
  size_t byteSize() const noexcept;

  // Grows to hold at least `length` positions and keeps the first `used`. Throws OUT_OF_MEMORY and
  // leaves the cache unchanged in that case.
  void reserve(int64_t length, int64_t used);

  // Copies the first `used` positions of another cache of the same model and type.
  void copyFrom(const KvCache& other, int64_t used);

  // The whole tensors, `capacity` positions long.
  const ggml_tensor* byPosition(size_t layer) const { return storage_.byPosition[layer]; }
  const ggml_tensor* byChannel(size_t layer) const { return storage_.byChannel[layer]; }

  // Views for a graph that writes `count` positions from `start` on.
  ggml_tensor* byPosition(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  ggml_tensor* byChannel(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  // Views for a graph that reads the first `length` positions by head: [head size, length, heads]
  // and [length, head size, heads].
  ggml_tensor* headsByPosition(ggml_context* context, size_t layer, int64_t length) const;
  ggml_tensor* headsByChannel(ggml_context* context, size_t layer, int64_t length) const;

 private:
  struct Storage {
    std::optional<TensorContext> context;
    BufferPtr buffer;
    std::vector<ggml_tensor*> byPosition, byChannel;
  };
  Storage allocate(int64_t capacity) const;
  void copy(const KvCache& from, int64_t used);

  Device* device_;
  KvCacheShape shape_;
  ggml_type type_;
  int64_t capacity_ = 0;
  Storage storage_;
};

// A range of positions in a sequence's cache.
struct CacheSpan {
  const KvCache* cache;
  int64_t start;
  int64_t count;
};

}  // namespace gpt2
