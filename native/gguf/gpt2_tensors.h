#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gpt2 {

// The tensors of a GPT-2 in GGUF: names, shapes and order, from input to output. Loading,
// conversion, quantising, creation and `gpt2 describe` all take them from this table.

enum class ModulePlace { kInput, kLayer, kOutput };

enum class ModuleKind {
  kTable,   // a weight with one row per token or position
  kNorm,    // a weight and a bias, both vectors
  kLinear,  // a weight and a bias
};

enum class ModelSize { kVocabSize, kContextLength, kEmbeddingLength, kFeedForwardLength };

// A multiple of one of a model's sizes.
struct Extent {
  ModelSize size;
  int64_t factor;
};

// A module has the tensors <name>.weight and, unless it is a table, <name>.bias.
struct Gpt2Module {
  const char* role;  // its name in lib/
  const char* name;  // {} stands for the number of the layer
  ModulePlace place;
  ModuleKind kind;
  Extent in;   // numbers in a row of the weight
  Extent out;  // rows of the weight; the length of the bias
  bool isOptional;
};

namespace modules {

inline constexpr Extent kWidth{ModelSize::kEmbeddingLength, 1};
inline constexpr Extent kThreeWidths{ModelSize::kEmbeddingLength, 3};
inline constexpr Extent kInner{ModelSize::kFeedForwardLength, 1};
inline constexpr Extent kVocabulary{ModelSize::kVocabSize, 1};
inline constexpr Extent kContext{ModelSize::kContextLength, 1};

constexpr Gpt2Module table(const char* role, const char* name, ModulePlace place, Extent rows,
                           bool isOptional = false) {
  return {role, name, place, ModuleKind::kTable, kWidth, rows, isOptional};
}
constexpr Gpt2Module norm(const char* role, const char* name, ModulePlace place) {
  return {role, name, place, ModuleKind::kNorm, kWidth, kWidth, false};
}
constexpr Gpt2Module linear(const char* role, const char* name, Extent in, Extent out) {
  return {role, name, ModulePlace::kLayer, ModuleKind::kLinear, in, out, false};
}

inline constexpr auto kTokenEmbedding =
    table("tokenEmbedding", "token_embd", ModulePlace::kInput, kVocabulary);
inline constexpr auto kPositionEmbedding =
    table("positionEmbedding", "position_embd", ModulePlace::kInput, kContext);

inline constexpr auto kAttentionNorm =
    norm("attentionNorm", "blk.{}.attn_norm", ModulePlace::kLayer);
inline constexpr auto kAttentionQkv =  // queries, keys, values
    linear("attentionQkv", "blk.{}.attn_qkv", kWidth, kThreeWidths);
inline constexpr auto kAttentionOutput =
    linear("attentionOutput", "blk.{}.attn_output", kWidth, kWidth);
inline constexpr auto kFeedForwardNorm =
    norm("feedForwardNorm", "blk.{}.ffn_norm", ModulePlace::kLayer);
inline constexpr auto kFeedForwardUp = linear("feedForwardUp", "blk.{}.ffn_up", kWidth, kInner);
inline constexpr auto kFeedForwardDown =
    linear("feedForwardDown", "blk.{}.ffn_down", kInner, kWidth);

inline constexpr auto kOutputNorm = norm("outputNorm", "output_norm", ModulePlace::kOutput);
// If it is absent, the token embedding is the head.
inline constexpr auto kHead = table("head", "output", ModulePlace::kOutput, kVocabulary, true);

}  // namespace modules

// In the order in which a file lists their tensors.
inline constexpr const Gpt2Module* kGpt2Modules[] = {
    &modules::kTokenEmbedding,  &modules::kPositionEmbedding,
    &modules::kAttentionNorm,   &modules::kAttentionQkv,
    &modules::kAttentionOutput, &modules::kFeedForwardNorm,
    &modules::kFeedForwardUp,   &modules::kFeedForwardDown,
    &modules::kOutputNorm,      &modules::kHead};

// Modules of one layer, of the input or of the output.
constexpr size_t moduleCount(ModulePlace place) {
  size_t count = 0;
  for (const Gpt2Module* module : kGpt2Modules) count += module->place == place ? 1 : 0;
  return count;
}

// The names of a module's tensors, for example "blk.7.attn_qkv.weight". layer: ignored for modules
// outside the layers.
std::string weightName(const Gpt2Module& module, int64_t layer = 0);
std::string biasName(const Gpt2Module& module, int64_t layer = 0);

// Whether a tensor is a causal mask, which old versions of Hugging Face's GPT-2 stored as a buffer
// and some converters copied: "h.7.attn.bias", "blk.7.attn.masked_bias". It is not a weight.
bool isMaskBuffer(std::string_view name);

}  // namespace gpt2
