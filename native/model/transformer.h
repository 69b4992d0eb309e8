#pragma once

#include "model/weights.h"
#include "ops/ops.h"

namespace gpt2 {

// All blocks of the model. embeddings: [width, tokens] → the hidden states of the output rows
// before the final norm, [width, rows].
ggml_tensor* transformer(Ops& ops, const Weights& weights, ggml_tensor* embeddings);

// The final norm. hidden: [width, rows] → [width, rows]
ggml_tensor* finalNorm(Ops& ops, const Weights& weights, ggml_tensor* hidden);

// The final norm and the language-model head. hidden: [width, rows] → logits, [vocabulary, rows]
ggml_tensor* head(Ops& ops, const Weights& weights, ggml_tensor* hidden);

}  // namespace gpt2
