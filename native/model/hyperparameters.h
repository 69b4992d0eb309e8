#pragma once

#include <cstdint>

#include "gguf/model_files.h"
#include "ops/ops.h"

namespace gpt2 {

// The hyperparameters of a GPT-2. The comments give the names in Hugging Face's config.json.
struct Hyperparameters {
  int64_t vocabSize;          // vocab_size
  int64_t contextLength;      // n_positions
  int64_t embeddingLength;    // n_embd: the width
  int64_t headCount;          // n_head
  int64_t layerCount;         // n_layer
  int64_t feedForwardLength;  // n_inner, 4 × n_embd in OpenAI's models
  float layerNormEpsilon;     // layer_norm_epsilon
  Activation activation;      // activation_function

  AttentionShape attention() const { return {embeddingLength, headCount}; }

  // Throws INVALID_FILE if one is missing or impossible, and UNSUPPORTED_MODEL if the file
  // describes a model that this engine would compute wrongly.
  static Hyperparameters read(const ModelFiles& files);
};

}  // namespace gpt2
