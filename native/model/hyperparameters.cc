#include "model/hyperparameters.h"

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

// Rejects other settings of the architecture. Each changes the computation, so it must not be
// ignored.
void expectOnlyKnownKeys(const GgufFile& file) {
  static constexpr std::string_view kKnown[] = {
      "context_length",       "embedding_length",
      "feed_forward_length",  "block_count",
      "attention.head_count", "attention.layer_norm_epsilon",
      "vocab_size",           "attention.head_count_kv",
      "attention.key_length", "attention.value_length"};
  constexpr std::string_view kPrefix = "gpt2.";
  for (const auto& [key, value] : file.metadata()) {
    if (key.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    const std::string_view name = std::string_view(key).substr(kPrefix.size());
    bool known = false;
    for (const std::string_view candidate : kKnown) known = known || candidate == name;
    if (!known) unsupported(file, "it sets \"" + key + "\", which this engine does not implement");
  }
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

  if (h.embeddingLength % h.headCount != 0) {
    file.reject("the embedding length " + std::to_string(h.embeddingLength) +
                " is not a multiple of the head count " + std::to_string(h.headCount));
  }
  expectEqual(file, "gpt2.attention.head_count_kv", h.headCount);
  expectEqual(file, "gpt2.attention.key_length", h.attention().headSize());
  expectEqual(file, "gpt2.attention.value_length", h.attention().headSize());

  const std::string name = weightName(modules::kTokenEmbedding);
  const TensorInfo* embedding = files.findTensor(name);
  if (embedding == nullptr) file.reject("the tensor \"" + name + "\" is missing");
  h.vocabSize = embedding->shape[1];
  expectEqual(file, "gpt2.vocab_size", h.vocabSize);
  return h;
}

}  // namespace gpt2
