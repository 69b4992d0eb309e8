#include "ops/stock_ops.h"

#include <algorithm>
#include <cmath>

namespace gpt2 {

// Layer normalisation (Ba et al. 2016), biased variance: (x − mean) / √(variance + ε) · weight +
// bias.
ggml_tensor* StockOps::norm(ggml_tensor* x, const LayerNorm& norm) {
  ggml_tensor* y = ggml_norm(context_, x, norm.epsilon);
  y = ggml_mul(context_, y, norm.weight);
  return norm.bias == nullptr ? y : ggml_add(context_, y, norm.bias);
}

ggml_tensor* StockOps::linear(ggml_tensor* x, const Linear& linear, Activation activation,
                              ggml_tensor* residual) {
  ggml_tensor* y = ggml_mul_mat(context_, linear.weight, x);
  if (linear.bias != nullptr) y = ggml_add(context_, y, linear.bias);
  y = activate(y, activation);
  return residual == nullptr ? y : ggml_add(context_, y, residual);
}

// ggml computes these nodes in f32, without a table of f16 values.
ggml_tensor* StockOps::activate(ggml_tensor* x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return geluTanh(x);
    case Activation::kGeluErf:
      return ggml_gelu_erf(context_, x);
    case Activation::kRelu:
      return ggml_relu(context_, x);
    case Activation::kSilu:
      return ggml_silu(context_, x);
  }
  return x;
}

// On the CPU ggml_gelu looks values up in a table of f16, which costs three digits. With
//   t = 2√(2/π) (1 + 0.044715 x²)   and   u = x t
// the same function is x · sigmoid(u) = silu(u) / t, since ½ (1 + tanh(z)) = sigmoid(2z); t is
// never 0. ggml computes silu in f32 with SIMD.
ggml_tensor* StockOps::geluTanh(ggml_tensor* x) {
  const auto slope = static_cast<float>(2 * std::sqrt(2 / 3.14159265358979323846));
  constexpr float kCubic = 0.044715F;
  ggml_tensor* t = ggml_scale_bias(context_, ggml_sqr(context_, x), slope * kCubic, slope);
  return ggml_div(context_, ggml_silu(context_, ggml_mul(context_, x, t)), t);
}

// softmax(Q Kᵀ / √(head size) + causal mask) V for every head (Vaswani et al. 2017).
//
// Keys are gathered by position and values by channel, so that ggml's matrix products run over
// contiguous elements. ggml's flash attention is not used: on the CPU it sums f16 values in f16,
// and it supports certain head sizes only.
ggml_tensor* StockOps::attention(ggml_tensor* qkv, size_t layer, Rows rows) {
  const int64_t width = shape_.width;
  const int64_t headCount = shape_.headCount;
  const int64_t headSize = shape_.headSize();
  const int64_t tokens = qkv->ne[1];
  const size_t headBytes = static_cast<size_t>(headSize) * sizeof(float);

  if (keys_ == nullptr) gather(start_ + tokens);
  storeInBlocks(qkv, layer);
  // Of this layer, [head size, positions, heads] and [positions, head size, heads].
  ggml_tensor* keys = ggml_view_3d(context_, keys_, headSize, keys_->ne[1], headCount, keys_->nb[1],
                                   keys_->nb[2], layer * keys_->nb[3]);
  ggml_tensor* values = ggml_view_3d(context_, values_, values_->ne[0], headSize, headCount,
                                     values_->nb[1], values_->nb[2], layer * values_->nb[3]);
  const auto start = static_cast<size_t>(start_);
  copy(keysIn(qkv, 0, tokens), ggml_view_3d(context_, keys, headSize, tokens, headCount,
                                            keys->nb[1], keys->nb[2], start * keys->nb[1]));
  copy(transpose(valuesIn(qkv, 0, tokens)),
       ggml_view_3d(context_, values, tokens, headSize, headCount, values->nb[1], values->nb[2],
                    start * values->nb[0]));

  ggml_tensor* queries =
      ggml_view_3d(context_, qkv, headSize, headCount, tokens, headBytes, qkv->nb[1], 0);
  queries = ggml_cont(context_, ggml_permute(context_, queries, 0, 2, 1, 3));

  // [positions, tokens, heads]
  ggml_tensor* scores = ggml_mul_mat(context_, keys, queries);
  scores = ggml_soft_max_ext_inplace(context_, scores, mask_,
                                     1.0F / std::sqrt(static_cast<float>(headSize)), 0.0F);

  // [head size, tokens, heads] → [width, tokens]
  ggml_tensor* attended = ggml_mul_mat(context_, values, scores);
  attended = ggml_permute(context_, attended, 0, 2, 1, 3);
  attended = ggml_cont_2d(context_, attended, width, tokens);
  return rows == Rows::kAll ? attended : selectOutputRows(attended);
}

// A copy for each block holds all layers, so a token costs a GPU few launches.
void StockOps::gather(int64_t positions) {
  const ggml_tensor* shape = cache_->blocks()[0]->keys;
  const int64_t headSize = shape_.headSize();
  const int64_t heads = shape_.headCount;
  const int64_t layers = shape->ne[3];
  keys_ = ggml_new_tensor_4d(context_, shape->type, headSize, positions, heads, layers);
  values_ = ggml_new_tensor_4d(context_, shape->type, positions, headSize, heads, layers);
  const auto view = [&](ggml_tensor* all, int64_t columns, int64_t rows, size_t offset) {
    return ggml_view_4d(context_, all, columns, rows, heads, layers, all->nb[1], all->nb[2],
                        all->nb[3], offset);
  };
  for (int64_t first = 0; first < start_; first += KvBlock::kPositions) {
    const KvBlock& block = *cache_->blocks()[static_cast<size_t>(first / KvBlock::kPositions)];
    const int64_t count = std::min(KvBlock::kPositions, start_ - first);
    const auto place = static_cast<size_t>(first);
    copy(transpose(view(block.keys, count, headSize, 0)),
         view(keys_, headSize, count, place * keys_->nb[1]));
    copy(transpose(view(block.values, headSize, count, 0)),
         view(values_, count, headSize, place * values_->nb[0]));
  }
}

void StockOps::storeInBlocks(ggml_tensor* qkv, size_t layer) {
  const int64_t headSize = shape_.headSize();
  const int64_t heads = shape_.headCount;
  int64_t count = 0;
  for (int64_t token = 0; token < qkv->ne[1]; token += count) {
    const int64_t position = start_ + token;
    const KvBlock& block = *cache_->blocks()[static_cast<size_t>(position / KvBlock::kPositions)];
    const int64_t place = position % KvBlock::kPositions;
    count = std::min(KvBlock::kPositions - place, qkv->ne[1] - token);
    const auto view = [&](ggml_tensor* all, int64_t columns, int64_t rows, size_t stride) {
      return ggml_view_3d(context_, all, columns, rows, heads, all->nb[1], all->nb[2],
                          layer * all->nb[3] + static_cast<size_t>(place) * stride);
    };
    copy(transpose(keysIn(qkv, token, count)),
         view(block.keys, count, headSize, block.keys->nb[0]));
    copy(valuesIn(qkv, token, count), view(block.values, headSize, count, block.values->nb[1]));
  }
}

// One row of qkv per token: queries, keys, values, each [head size] × heads.
ggml_tensor* StockOps::partOf(ggml_tensor* qkv, size_t part, int64_t first, int64_t count) {
  const auto headBytes = static_cast<size_t>(shape_.headSize()) * sizeof(float);
  const auto partBytes = static_cast<size_t>(shape_.width) * sizeof(float);
  return ggml_view_3d(context_, qkv, shape_.headSize(), count, shape_.headCount, qkv->nb[1],
                      headBytes, static_cast<size_t>(first) * qkv->nb[1] + part * partBytes);
}

ggml_tensor* StockOps::transpose(ggml_tensor* x) { return ggml_permute(context_, x, 1, 0, 2, 3); }

void StockOps::copy(ggml_tensor* from, ggml_tensor* to) {
  ggml_build_forward_expand(graph_, ggml_cpy(context_, from, to));
}

ggml_tensor* StockOps::selectOutputRows(ggml_tensor* x) {
  return ggml_get_rows(context_, x, outputRows_);
}

}  // namespace gpt2
