#include "ops/stock_ops.h"

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
// Keys are stored by position and values by channel, so that ggml's matrix products run over
// contiguous elements. ggml's flash attention is not used: on the CPU it sums f16 values in f16,
// and it supports certain head sizes only.
ggml_tensor* StockOps::attention(ggml_tensor* qkv, size_t layer, Rows rows) {
  const int64_t width = shape_.width;
  const int64_t headCount = shape_.headCount;
  const int64_t headSize = shape_.headSize();
  const int64_t tokens = qkv->ne[1];
  const size_t rowBytes = qkv->nb[1];
  const size_t partBytes = static_cast<size_t>(width) * sizeof(float);

  // One row per token: queries, keys, values, each [head size] × heads.
  ggml_tensor* keys = ggml_view_2d(context_, qkv, width, tokens, rowBytes, partBytes);
  ggml_tensor* values = ggml_view_2d(context_, qkv, width, tokens, rowBytes, 2 * partBytes);
  ggml_build_forward_expand(
      graph_, ggml_cpy(context_, keys, cache_->byPosition(context_, layer, start_, tokens)));
  ggml_build_forward_expand(graph_, ggml_cpy(context_, ggml_transpose(context_, values),
                                             cache_->byChannel(context_, layer, start_, tokens)));

  ggml_tensor* queries = ggml_view_3d(context_, qkv, headSize, headCount, tokens,
                                      static_cast<size_t>(headSize) * sizeof(float), rowBytes, 0);
  queries = ggml_cont(context_, ggml_permute(context_, queries, 0, 2, 1, 3));

  // [positions, tokens, heads]
  const int64_t positions = start_ + tokens;
  ggml_tensor* scores =
      ggml_mul_mat(context_, cache_->headsByPosition(context_, layer, positions), queries);
  scores = ggml_soft_max_ext_inplace(context_, scores, mask_,
                                     1.0F / std::sqrt(static_cast<float>(headSize)), 0.0F);

  // [head size, tokens, heads] → [width, tokens]
  ggml_tensor* attended =
      ggml_mul_mat(context_, cache_->headsByChannel(context_, layer, positions), scores);
  attended = ggml_permute(context_, attended, 0, 2, 1, 3);
  attended = ggml_cont_2d(context_, attended, width, tokens);
  return rows == Rows::kAll ? attended : selectOutputRows(attended);
}

ggml_tensor* StockOps::selectOutputRows(ggml_tensor* x) {
  return ggml_get_rows(context_, x, outputRows_);
}

}  // namespace gpt2
