#include "model/transformer.h"

namespace gpt2 {

// GPT-2 (Radford et al. 2019) is pre-norm: a norm precedes attention and feed-forward, whose
// outputs are added to the residual stream, and a final norm precedes the head.
ggml_tensor* transformer(Ops& ops, const Weights& weights, ggml_tensor* embeddings,
                         ResidualCopies& copies) {
  ggml_tensor* hidden = embeddings;
  for (size_t i = 0; i < weights.layers().size(); ++i) {
    const Layer& layer = weights.layers()[i];
    const auto copy = copies.find(static_cast<int64_t>(i));
    if (copy != copies.end()) copy->second = ops.copyOutputRows(hidden);

    ggml_tensor* x = ops.norm(hidden, layer.attentionNorm);
    x = ops.linear(x, layer.attentionQkv, Activation::kNone, nullptr);
    // The last attention has read all tokens: from here on, only the output rows matter.
    const bool isLast = i + 1 == weights.layers().size();
    x = ops.attention(x, i, isLast ? Rows::kOutput : Rows::kAll);
    if (isLast) hidden = ops.selectOutputRows(hidden);
    hidden = ops.linear(x, layer.attentionOutput, Activation::kNone, hidden);

    x = ops.norm(hidden, layer.feedForwardNorm);
    x = ops.linear(x, layer.feedForwardUp, weights.hyperparameters().activation, nullptr);
    hidden = ops.linear(x, layer.feedForwardDown, Activation::kNone, hidden);
  }
  return hidden;
}

ggml_tensor* finalNorm(Ops& ops, const Weights& weights, ggml_tensor* hidden) {
  return ops.norm(hidden, weights.outputNorm());
}

ggml_tensor* head(Ops& ops, const Weights& weights, ggml_tensor* hidden) {
  ggml_tensor* x = finalNorm(ops, weights, hidden);
  return ops.linear(x, weights.head(), Activation::kNone, nullptr);
}

}  // namespace gpt2
