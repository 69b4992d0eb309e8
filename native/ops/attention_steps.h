#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "ops/kv_cache.h"
#include "ops/ops.h"

// Steps of attention: softmax(Q Kᵀ / √(head size) + causal mask) V for every head (Vaswani et al.
// 2017). Keys are cached by channel and values by position, so that both products are sums of rows
// of the cache, block by block.

namespace gpt2 {

struct AttentionInput {
  // [3 × width, tokens of all spans]: queries, keys, values, each [head size] × heads.
  const ggml_tensor* qkv;
  AttentionShape shape;
  size_t layer;
  std::vector<CacheSpan> spans;  // the positions of the tokens
};

struct AttentionOutput {
  const ggml_tensor* y;       // [width, rows]
  std::vector<int64_t> rows;  // the tokens that have a row in y, ascending
  bool isPacked;              // y holds tiles, as packTiles() writes them, instead of rows
};

// Spans of few tokens are attended token by token, others by tiles of tokens, for which a step
// before has to store their keys and values.
bool hasLongSpans(const AttentionInput& input);
std::unique_ptr<Step> makeStoreStep(const AttentionInput& input);

// Attends all tokens that have a row in the output. Stores the keys and values of spans of few
// tokens.
std::unique_ptr<Step> makeAttentionStep(const AttentionInput& input, AttentionOutput output);

}  // namespace gpt2
