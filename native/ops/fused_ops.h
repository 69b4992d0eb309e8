#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "ops/kv_cache.h"
#include "ops/ops.h"

namespace gpt2 {

// Tokens of a pass that belong to one sequence: `tokens` positions from `start` on.
struct Sequence {
  const KvCache* cache;  // null where there is no attention
  int64_t start;
  int64_t tokens;
};

// The operators as steps for our own thread pool, for the CPU: each does at once what takes several
// of ggml's nodes. Sums have one order, however many tokens and threads there are; only with
// quantised weights does it matter whether linear layers read activations as rows, and then
// rounded, or packed.
//
// The graph's nodes are there for ggml's allocator, which plans the memory; each carries its step.
class FusedOps final : public Ops {
 public:
  // sequences: one, or several of few tokens each. rows: the tokens, counted through
  // all sequences, that are asked for, in rising order. Linear layers read up to `mostRows` tokens
  // as rows, more of them packed. The nodes live in `context`; the steps here.
  FusedOps(ggml_context* context, const Hyperparameters& hyperparameters,
           std::vector<Sequence> sequences, std::vector<int64_t> rows, int64_t mostRows);
  ~FusedOps() override;

  ggml_tensor* norm(ggml_tensor* x, const LayerNorm& norm) override;
  ggml_tensor* linear(ggml_tensor* x, const Linear& linear, Activation activation,
                      ggml_tensor* residual) override;
  ggml_tensor* attention(ggml_tensor* qkv, size_t layer, Rows rows) override;
  ggml_tensor* askedFor(ggml_tensor* x) override;

  // The steps of a graph made of these operators, in its order.
  static std::vector<const Step*> stepsOf(ggml_cgraph* graph);

 private:
  // Whether linear layers read rows as they are, else packed for multiplyTile().
  bool readsRows(int64_t count) const;
  // [columns, count], or as many more rows as fill the last tile.
  ggml_tensor* make(int64_t columns, int64_t count, bool packed, std::vector<ggml_tensor*> from);
  ggml_tensor* quantized(ggml_tensor* x, ggml_type type);
  void setStep(ggml_tensor* node, std::unique_ptr<Step> step);

  ggml_context* context_;
  const Hyperparameters& hyperparameters_;
  std::vector<Sequence> sequences_;
  int64_t tokens_ = 0;  // of all sequences; after askedFor(), the rows
  std::vector<int64_t> rows_;
  int64_t mostRows_;
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace gpt2
