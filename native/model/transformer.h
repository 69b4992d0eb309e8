#pragma once

#include "model/weights.h"
#include "ops/ops.h"

namespace gpt2 {

// All blocks of the model. embeddings: [width, tokens] → hidden states of the tokens asked for,
// [width, rows], before the final norm.
ggml_tensor* transformer(Ops& ops, const Weights& weights, ggml_tensor* embeddings);

// Hidden states to logits. hidden: [width, rows] → [vocabulary, rows]
ggml_tensor* head(Ops& ops, const Weights& weights, ggml_tensor* hidden);

}  // namespace gpt2
