#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "ops/kv_cache.h"
#include "ops/ops.h"

namespace gpt2 {

// The operators as steps for ThreadPool, for the CPU: one step does the work of several of ggml's
// nodes. The order of every sum is fixed, so results do not depend on the numbers of tokens and
// threads.
//
// The graph's nodes exist for ggml's allocator, which plans the memory; each carries its step.
class FusedOps final : public Ops {
 public:
  // spans: the positions of the tokens of each sequence. For a graph without attention the cache
  // may be null. outputRows: the tokens, counted through all spans, whose hidden states the pass
  // returns; ascending. packsActivations: whether norms and attention write many rows as packed
  // tiles, as linear layers with weights in floats read them. Layers of integer types read rounded
  // rows. The nodes live in `context`, the steps here.
  FusedOps(ggml_context* context, const AttentionShape& shape, std::vector<CacheSpan> spans,
           std::vector<int64_t> outputRows, bool packsActivations);
  ~FusedOps() override;

  ggml_tensor* norm(ggml_tensor* x, const LayerNorm& norm) override;
  ggml_tensor* linear(ggml_tensor* x, const Linear& linear, Activation activation,
                      ggml_tensor* residual) override;
  ggml_tensor* attention(ggml_tensor* qkv, size_t layer, Rows rows) override;
  ggml_tensor* selectOutputRows(ggml_tensor* x) override;
  ggml_tensor* copyOutputRows(ggml_tensor* x) override;

  // The steps of a graph made of these operators, in its order.
  static std::vector<const Step*> stepsOf(ggml_cgraph* graph);

 private:
  // Whether activations of this number of rows are packed tiles.
  bool isPacked(int64_t rows) const;
  // A node of the shape [columns, rows]; if packed, the rows are rounded up to whole tiles.
  ggml_tensor* makeNode(int64_t columns, int64_t rows, bool packed,
                        std::vector<ggml_tensor*> sources);
  ggml_tensor* round(ggml_tensor* x);
  ggml_tensor* pack(ggml_tensor* x);
  void setStep(ggml_tensor* node, std::unique_ptr<Step> step);

  ggml_context* context_;
  AttentionShape shape_;
  std::vector<CacheSpan> spans_;
  int64_t tokens_ = 0;  // of all spans; after selectOutputRows(), the number of output rows
  std::vector<int64_t> outputRows_;
  bool packsActivations_;
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace gpt2
