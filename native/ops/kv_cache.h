#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/tensor_context.h"
#include "model/hyperparameters.h"
#include "ops/device.h"

namespace gpt2 {

// The keys and values of one sequence, for every layer; grows with the sequence.
//
// Per layer two tensors: `byPosition`, [width, capacity], has a row for each position; `byNumber`,
// [capacity, width], has a row for each number of the width, with a place for each position. Which
// of them holds the keys is up to the operators, as it suits the way they multiply.
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
  const ggml_tensor* byPosition(size_t layer) const { return storage_.byPosition[layer]; }
  const ggml_tensor* byNumber(size_t layer) const { return storage_.byNumber[layer]; }

  // Views for a graph: where `count` positions from `start` on are written …
  ggml_tensor* byPosition(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  ggml_tensor* byNumber(ggml_context* context, size_t layer, int64_t start, int64_t count) const;
  // … and the first `length` positions by head: [head size, length, heads] and
  // [length, head size, heads].
  ggml_tensor* headsByPosition(ggml_context* context, size_t layer, int64_t length) const;
  ggml_tensor* headsByNumber(ggml_context* context, size_t layer, int64_t length) const;

 private:
  struct Storage {
    std::optional<TensorContext> context;
    BufferPtr buffer;
    std::vector<ggml_tensor*> byPosition, byNumber;
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
