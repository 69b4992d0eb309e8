#pragma once

#include <cstdint>
#include <map>

#include "model/weights.h"
#include "ops/ops.h"

namespace gpt2 {

// Copies of the residual stream's output rows after so many layers, [width, rows].
using ResidualCopies = std::map<int64_t, ggml_tensor*>;

// All blocks of the model. embeddings: [width, tokens] → the hidden states of the output rows
// before the final norm, [width, rows]. Fills in the copies whose keys the map has.
ggml_tensor* transformer(Ops& ops, const Weights& weights, ggml_tensor* embeddings,
                         ResidualCopies& copies);

// The final norm. hidden: [width, rows] → [width, rows]
ggml_tensor* finalNorm(Ops& ops, const Weights& weights, ggml_tensor* hidden);

// The final norm and the language-model head. hidden: [width, rows] → logits, [vocabulary, rows]
ggml_tensor* head(Ops& ops, const Weights& weights, ggml_tensor* hidden);

}  // namespace gpt2
