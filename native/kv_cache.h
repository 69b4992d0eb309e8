#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "device.h"
#include "hyperparameters.h"
#include "tensor_context.h"

namespace gpt2 {

// The keys and values of one sequence, for every layer; grows with the sequence.
//
// Per layer: keys [width, capacity], one row per position; values [capacity, width], transposed, so
// that the sum over positions runs over contiguous numbers.
class KvCache {
 public:
  KvCache(Device& device, const Hyperparameters& hyperparameters, ggml_type type);

  int64_t capacity() const noexcept { return capacity_; }
  size_t byteSize() const noexcept;

  // Makes room for `length` positions, keeping the first `used`. Throws OUT_OF_MEMORY, and then the
  // cache is as it was.
  void reserve(int64_t length, int64_t used);

  // Takes over the first `used` positions of another cache of the same model and type.
  void copyFrom(const KvCache& other, int64_t used);

  // All there is room for.
  const ggml_tensor* allKeys(size_t layer) const { return storage_.keys[layer]; }
  const ggml_tensor* allValues(size_t layer) const { return storage_.values[layer]; }

  // Views for a graph: where the keys and values of `count` positions from `start` on are written …
  ggml_tensor* keySlot(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  ggml_tensor* valueSlot(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  // … and the first `length` positions by head: keys [head size, length, heads], values
  // [length, head size, heads].
  ggml_tensor* keys(ggml_context* context, size_t layer, int64_t length) const;
  ggml_tensor* values(ggml_context* context, size_t layer, int64_t length) const;

 private:
  struct Storage {
    std::optional<TensorContext> context;
    BufferPtr buffer;
    std::vector<ggml_tensor*> keys, values;
  };
  Storage allocate(int64_t capacity) const;
  void copy(const KvCache& from, int64_t used);

  Device* device_;
  const Hyperparameters* hyperparameters_;
  ggml_type type_;
  int64_t capacity_ = 0;
  Storage storage_;
};

}  // namespace gpt2
