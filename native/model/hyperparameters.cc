#include "model/hyperparameters.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "gguf/gpt2_tensors.h"

namespace gpt2 {

namespace {

[[noreturn]] void unsupported(const GgufFile& file, const std::string& reason) {
  throw Error(code::kUnsupportedModel, file.path() + ": " + reason);
}

// More than any model has. The product of two such numbers does not overflow.
constexpr int64_t kMax = std::numeric_limits<int32_t>::max();

void expectEqual(const GgufFile& file, const char* key, int64_t expected) {
  const std::optional<int64_t> number = file.wholeNumber(key, 1, kMax);
  if (number && *number != expected) {
    unsupported(file, "expected " + std::string(key) + " to be " + std::to_string(expected) +
                          ", as in every GPT-2, but found " + std::to_string(*number));
  }
}

std::string textOf(double number) {
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.6g", number);
  return text;
}

std::string textOf(const MetadataValue& value) {
  if (const auto number = value.number()) return textOf(*number);
  if (const auto string = value.string()) return "\"" + std::string(*string) + "\"";
  return "an array";
}

// Settings that this engine reads or compares with the tensors.
constexpr std::string_view kRead[] = {"context_length",       "embedding_length",
                                      "feed_forward_length",  "block_count",
                                      "attention.head_count", "attention.layer_norm_epsilon",
                                      "vocab_size",           "attention.head_count_kv",
                                      "attention.key_length", "attention.value_length",
                                      "attention.scale"};

// Settings of other architectures, with the value that describes GPT-2. The names are llama.cpp's
// (src/llama-arch.cpp). A scale or a bound of 0 means that there is none.
struct NeutralSetting {
  std::string_view name;
  double value;
};
constexpr NeutralSetting kNeutral[] = {
    {"attention.causal", 1},
    {"use_parallel_residual", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.sliding_window", 0},
    {"attention.group_norm_groups", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"expert_feed_forward_length", 0},
    {"expert_shared_feed_forward_length", 0},
    {"expert_weights_norm", 0},
    {"nextn_predict_layers", 0},
    {"swin_norm", 0},
    {"pooling_type", 0},
    {"logit_scale", 0},
    {"logit_scale", 1},
    {"residual_scale", 0},
    {"residual_scale", 1},
    {"embedding_scale", 0},
    {"embedding_scale", 1},
};
struct NeutralText {
  std::string_view name;
  std::string_view value;
};
constexpr NeutralText kNeutralTexts[] = {{"rope.scaling.type", "none"},
                                         {"tensor_data_layout", "reference"}};

bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Whether a setting that this engine does not read describes what GPT-2 does anyway.
bool isNeutral(std::string_view name, const MetadataValue& value) {
  if (const auto number = value.number()) {
    if (endsWith(name, "_count") && *number == 0) return true;
    return std::any_of(std::begin(kNeutral), std::end(kNeutral), [&](const NeutralSetting& each) {
      return each.name == name && each.value == *number;
    });
  }
  const auto text = value.string();
  return text && std::any_of(std::begin(kNeutralTexts), std::end(kNeutralTexts),
                             [&](const NeutralText& each) {
                               return each.name == name && each.value == *text;
                             });
}

// Rejects settings that change the computation. They must not be ignored.
void expectOnlyKnownKeys(const GgufFile& file) {
  constexpr std::string_view kPrefix = "gpt2.";
  for (const auto& [key, value] : file.metadata()) {
    if (key.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    const std::string_view name = std::string_view(key).substr(kPrefix.size());
    if (std::find(std::begin(kRead), std::end(kRead), name) != std::end(kRead)) continue;
    if (isNeutral(name, value)) continue;
    unsupported(file, "it sets \"" + key + "\" to " + textOf(value) +
                          ", which this engine does not implement");
  }
}

// 0 stands for the default in llama.cpp. The tolerance is that of a file whose writer rounded to
// six digits.
void expectUsualScale(const GgufFile& file, const AttentionShape& attention) {
  constexpr const char* kKey = "gpt2.attention.scale";
  const MetadataValue* value = file.find(kKey);
  if (value == nullptr) return;
  const double usual = 1 / std::sqrt(static_cast<double>(attention.headSize()));
  const auto number = value->number();
  if (number && (*number == 0 || std::fabs(*number - usual) <= 1e-6 * usual)) return;
  unsupported(file, "expected " + std::string(kKey) + " to be " + textOf(usual) +
                        ", one divided by the square root of the head size, but found " +
                        textOf(*value));
}

// GGUF has no key for the activation, and llama.cpp's is GPT-2's. The names are those of Hugging
// Face's activation_function.
Activation readActivation(const GgufFile& file) {
  constexpr const char* kKey = "gpt2_native.activation_function";
  struct Named {
    std::string_view name;
    Activation activation;
  };
  static constexpr Named kNamed[] = {{"gelu_new", Activation::kGeluTanh},
                                     {"gelu", Activation::kGeluErf},
                                     {"relu", Activation::kRelu},
                                     {"silu", Activation::kSilu}};
  const MetadataValue* value = file.find(kKey);
  if (value == nullptr) return Activation::kGeluTanh;
  const auto name = value->string();
  for (const Named& each : kNamed) {
    if (name == each.name) return each.activation;
  }
  unsupported(file, "expected " + std::string(kKey) +
                        " to be \"gelu_new\", \"gelu\", \"relu\" or \"silu\" but found " +
                        textOf(*value));
}

}  // namespace

Hyperparameters Hyperparameters::read(const ModelFiles& files) {
  const GgufFile& file = files.first();
  const MetadataValue* value = file.find("general.architecture");
  const auto architecture = value == nullptr ? std::nullopt : value->string();
  if (!architecture) file.reject("the metadata value \"general.architecture\" is missing");
  if (*architecture != "gpt2") {
    unsupported(file, "expected the architecture \"gpt2\" but found \"" +
                          std::string(*architecture) + "\"");
  }
  expectOnlyKnownKeys(file);

  Hyperparameters h{};
  h.contextLength = file.requiredWholeNumber("gpt2.context_length", 1, kMax);
  h.embeddingLength = file.requiredWholeNumber("gpt2.embedding_length", 1, kMax);
  h.layerCount = file.requiredWholeNumber("gpt2.block_count", 1, kMax);
  h.headCount = file.requiredWholeNumber("gpt2.attention.head_count", 1, kMax);
  h.feedForwardLength =
      file.wholeNumber("gpt2.feed_forward_length", 1, kMax).value_or(4 * h.embeddingLength);

  const MetadataValue* epsilon = file.find("gpt2.attention.layer_norm_epsilon");
  const auto number = epsilon == nullptr ? std::nullopt : epsilon->number();
  if (!number) file.reject("the metadata value \"gpt2.attention.layer_norm_epsilon\" is missing");
  const bool fits = *number > 0 && *number <= std::numeric_limits<float>::max();
  h.layerNormEpsilon = fits ? static_cast<float>(*number) : 0;
  if (h.layerNormEpsilon == 0) {  // or rounded to 0
    file.reject("gpt2.attention.layer_norm_epsilon is not a positive number");
  }

  h.activation = readActivation(file);

  if (h.embeddingLength % h.headCount != 0) {
    file.reject("the embedding length " + std::to_string(h.embeddingLength) +
                " is not a multiple of the head count " + std::to_string(h.headCount));
  }
  expectEqual(file, "gpt2.attention.head_count_kv", h.headCount);
  expectEqual(file, "gpt2.attention.key_length", h.attention().headSize());
  expectEqual(file, "gpt2.attention.value_length", h.attention().headSize());
  expectUsualScale(file, h.attention());

  const std::string name = weightName(modules::kTokenEmbedding);
  const TensorInfo* embedding = files.findTensor(name);
  if (embedding == nullptr) file.reject("the tensor \"" + name + "\" is missing");
  h.vocabSize = embedding->shape[1];
  expectEqual(file, "gpt2.vocab_size", h.vocabSize);
  return h;
}

}  // namespace gpt2
