#pragma once

#include "ops/kv_cache.h"
#include "ops/ops.h"

namespace gpt2 {

// The operators in ggml's own nodes: runs on every backend and is the reference that FusedOps is
// tested against.
class StockOps final : public Ops {
 public:
  // Adds nodes to `graph`, whose tensors live in `context`, for positions from `start` on.
  // mask: [start + tokens, tokens], 0 where a token may attend and −∞ elsewhere; null for a single
  // token, which may attend to all. outputRows: [rows] in i32, the tokens whose hidden states the
  // pass returns.
  StockOps(ggml_context* context, ggml_cgraph* graph, const AttentionShape& shape,
           const KvCache* cache, int64_t start, ggml_tensor* mask, ggml_tensor* outputRows)
      : context_(context),
        graph_(graph),
        shape_(shape),
        cache_(cache),
        start_(start),
        mask_(mask),
        outputRows_(outputRows) {}

  ggml_tensor* norm(ggml_tensor* x, const LayerNorm& norm) override;
  ggml_tensor* linear(ggml_tensor* x, const Linear& linear, Activation activation,
                      ggml_tensor* residual) override;
  ggml_tensor* attention(ggml_tensor* qkv, size_t layer, Rows rows) override;
  ggml_tensor* selectOutputRows(ggml_tensor* x) override;
  ggml_tensor* copyOutputRows(ggml_tensor* x) override { return selectOutputRows(x); }

 private:
  // Add nodes. gather() makes keys_ and values_ and copies the cached positions into them;
  // storeInBlocks() copies this pass's keys and values of a layer to the cache.
  void gather(int64_t positions);
  void storeInBlocks(ggml_tensor* qkv, size_t layer);
  void copy(ggml_tensor* from, ggml_tensor* to);
  // Views of `count` tokens: [head size, count, heads].
  ggml_tensor* keysIn(ggml_tensor* qkv, int64_t first, int64_t count) {
    return partOf(qkv, 1, first, count);
  }
  ggml_tensor* valuesIn(ggml_tensor* qkv, int64_t first, int64_t count) {
    return partOf(qkv, 2, first, count);
  }
  ggml_tensor* partOf(ggml_tensor* qkv, size_t part, int64_t first, int64_t count);
  // A view with the first two dimensions exchanged.
  ggml_tensor* transpose(ggml_tensor* x);

  ggml_tensor* activate(ggml_tensor* x, Activation activation);
  ggml_tensor* geluTanh(ggml_tensor* x);

  ggml_context* context_;
  ggml_cgraph* graph_;
  AttentionShape shape_;
  const KvCache* cache_;
  int64_t start_;
  ggml_tensor* mask_;
  ggml_tensor* outputRows_;
  // The keys, [head size, positions, heads, layers], and values, [positions, head size, heads,
  // layers], of all positions up to this pass's last, as ggml's matrix products read them.
  ggml_tensor* keys_ = nullptr;
  ggml_tensor* values_ = nullptr;
};

}  // namespace gpt2
