// Which files the engine computes, and which it must reject.

#include "model/hyperparameters.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "gguf_builder.h"
#include "loaded_model.h"
#include "random_numbers.h"
#include "reference_model.h"

using gpt2::Hyperparameters;
using gpt2::ModelFiles;
using gpt2::test::GgufBuilder;
using gpt2::test::LoadedModel;
using gpt2::test::RandomNumbers;
using gpt2::test::randomTokens;
using gpt2::test::raw;
using gpt2::test::rawString;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

struct Value {
  uint32_t type;
  std::string bytes;
};

Value number(uint32_t value) { return {GgufBuilder::kUint32, raw(value)}; }
Value number(float value) { return {GgufBuilder::kFloat32, raw(value)}; }
Value text(const std::string& value) { return {GgufBuilder::kString, rawString(value)}; }

// The metadata and tensors of a small model. Each test changes one of them.
struct Draft {
  std::map<std::string, Value> metadata{
      {"general.architecture", text("gpt2")},
      {"gpt2.context_length", number(48U)},
      {"gpt2.embedding_length", number(24U)},
      {"gpt2.block_count", number(2U)},
      {"gpt2.attention.head_count", number(8U)},
      {"gpt2.attention.layer_norm_epsilon", number(1e-5F)},
  };
  ReferenceModel model{ReferenceShape{}};

  Draft& set(const std::string& key, const Value& value) {
    metadata[key] = value;
    return *this;
  }
  // A tensor of zeros.
  Draft& add(const std::string& name, size_t in, size_t out, ggml_type type) {
    const size_t size = std::max<size_t>(out, 1) * ggml_row_size(type, static_cast<int64_t>(in));
    model.tensors()[name] = {in, out, type, std::string(size, '\0'), {}};
    return *this;
  }
  std::string bytes() const {
    GgufBuilder builder;
    for (const auto& [key, value] : metadata) builder.metadata(key, value.type, value.bytes);
    return model.addTensors(builder).bytes();
  }
};

Draft with(const std::string& key, const Value& value) { return Draft().set(key, value); }

Draft without(const std::string& key) {
  Draft draft;
  CHECK_EQUAL(draft.metadata.erase(key), 1U);
  return draft;
}

// The error must have this code, and its message must contain the text.
void checkRefused(const Draft& draft, const char* expectedCode, const std::string& reason) {
  std::string message = "nothing";
  try {
    LoadedModel model(draft.bytes());
  } catch (const gpt2::Error& error) {
    message = std::string(error.code()) + ": " + error.what();
  }
  if (message.rfind(expectedCode, 0) != 0 || message.find(reason) == std::string::npos) {
    gpt2::test::fail(__FILE__, __LINE__,
                     "expected " + std::string(expectedCode) + " with \"" + reason +
                         "\" but received " + message);
  }
}

void checkAccepted(const Draft& draft) {
  LoadedModel model(draft.bytes());
  CHECK_EQUAL(model.evaluateAll(randomTokens(5, 61, 1)).size(), 5U * 61);
}

}  // namespace

TEST(readsHyperparameters) {
  const Draft draft;
  const TemporaryFile path(draft.bytes());
  const Hyperparameters h = Hyperparameters::read(ModelFiles(path.path(), true));
  CHECK_EQUAL(h.vocabSize, 61);
  CHECK_EQUAL(h.contextLength, 48);
  CHECK_EQUAL(h.embeddingLength, 24);
  CHECK_EQUAL(h.headCount, 8);
  CHECK_EQUAL(h.attention().headSize(), 3);
  CHECK_EQUAL(h.layerCount, 2);
  CHECK_EQUAL(h.feedForwardLength, 96);
  CHECK_EQUAL(h.layerNormEpsilon, 1e-5F);
}

TEST(readsThemFromAnyNumericType) {
  checkAccepted(with("gpt2.context_length", {2, raw<uint16_t>(48)}));
  checkAccepted(with("gpt2.embedding_length", {11, raw<int64_t>(24)}));
  checkAccepted(with("gpt2.block_count", {0, "\2"}));
  checkAccepted(with("gpt2.attention.head_count", {10, raw<uint64_t>(8)}));
  checkAccepted(with("gpt2.attention.layer_norm_epsilon", {12, raw(1e-5)}));
}

TEST(acceptsRedundantSettings) {
  checkAccepted(with("gpt2.feed_forward_length", number(96U)));
  checkAccepted(with("gpt2.attention.head_count_kv", number(8U)));
  checkAccepted(with("gpt2.attention.key_length", number(3U)));
  checkAccepted(with("gpt2.attention.value_length", number(3U)));
  checkAccepted(with("gpt2.vocab_size", number(61U)));
  checkAccepted(with("general.name", text("any")));
  checkAccepted(with("gpt2_other.key", number(1U)));
}

TEST(rejectsOtherArchitectures) {
  checkRefused(without("general.architecture"), code::kInvalidFile, "general.architecture");
  checkRefused(with("general.architecture", number(2U)), code::kInvalidFile,
               "general.architecture");
  for (const char* other : {"llama", "GPT2", "gpt2 ", "gptneox", ""}) {
    checkRefused(with("general.architecture", text(other)), code::kUnsupportedModel,
                 "\"" + std::string(other) + "\"");
  }
}

// Settings that would change the computation must not be ignored.
TEST(rejectsUnknownSettings) {
  for (const std::string key : {"gpt2.rope.freq_base", "gpt2.use_parallel_residual", "gpt2.",
                                "gpt2.context_length2", "gpt2.attention.sliding_window"}) {
    checkRefused(with(key, number(1U)), code::kUnsupportedModel, "\"" + key + "\"");
  }
}

TEST(acceptsSettingsThatDescribeGpt2) {
  const auto boolean = [](bool value) { return Value{7, std::string(1, value ? '\1' : '\0')}; };
  const auto scale = [](double value) { return with("gpt2.attention.scale", {12, raw(value)}); };
  checkAccepted(with("gpt2.attention.causal", boolean(true)));
  checkAccepted(with("gpt2.use_parallel_residual", boolean(false)));
  checkAccepted(with("gpt2.attention.scale", number(0.57735026919F)));  // 1 ÷ √3
  checkAccepted(scale(0.577350));
  checkAccepted(scale(0));
  for (const std::string key :
       {"expert_count", "expert_used_count", "rope.dimension_count", "leading_dense_block_count"}) {
    checkAccepted(with("gpt2." + key, number(0U)));
    checkRefused(with("gpt2." + key, number(2U)), code::kUnsupportedModel,
                 "\"gpt2." + key + "\" to 2");
  }
  checkAccepted(with("gpt2.attention.max_alibi_bias", number(0.0F)));
  checkAccepted(with("gpt2.attention.sliding_window", number(0U)));
  checkAccepted(with("gpt2.logit_scale", number(1.0F)));
  checkAccepted(with("gpt2.rope.scaling.type", text("none")));

  checkRefused(with("gpt2.attention.causal", boolean(false)), code::kUnsupportedModel,
               "\"gpt2.attention.causal\" to 0");
  checkRefused(with("gpt2.use_parallel_residual", boolean(true)), code::kUnsupportedModel,
               "\"gpt2.use_parallel_residual\" to 1");
  checkRefused(with("gpt2.logit_scale", number(0.5F)), code::kUnsupportedModel, "to 0.5");
  checkRefused(with("gpt2.rope.scaling.type", text("yarn")), code::kUnsupportedModel, "\"yarn\"");
  for (const double wrong : {1.0, 0.5773, 0.125, -0.57735026919}) {
    checkRefused(scale(wrong), code::kUnsupportedModel, "gpt2.attention.scale to be 0.57735,");
  }
  checkRefused(scale(std::nan("")), code::kUnsupportedModel, "gpt2.attention.scale");
  checkRefused(with("gpt2.attention.scale", text("0.5")), code::kUnsupportedModel, "\"0.5\"");
}

TEST(rejectsUnknownActivations) {
  const std::string key = "gpt2_native.activation_function";
  checkAccepted(with(key, text("silu")));
  for (const Value& value : {text("quick_gelu"), text(""), number(1U)}) {
    checkRefused(with(key, value), code::kUnsupportedModel, key);
  }
}

TEST(rejectsSettingsThatGpt2DoesNotHave) {
  checkRefused(with("gpt2.attention.head_count_kv", number(2U)), code::kUnsupportedModel,
               "head_count_kv");
  checkRefused(with("gpt2.attention.key_length", number(4U)), code::kUnsupportedModel,
               "key_length");
  checkRefused(with("gpt2.attention.value_length", number(4U)), code::kUnsupportedModel,
               "value_length");
  checkRefused(with("gpt2.vocab_size", number(62U)), code::kUnsupportedModel, "vocab_size");
}

TEST(rejectsMissingAndImpossibleNumbers) {
  for (const std::string key : {"gpt2.context_length", "gpt2.embedding_length", "gpt2.block_count",
                                "gpt2.attention.head_count"}) {
    checkRefused(without(key), code::kInvalidFile, key);
    const Value impossible[] = {
        number(0U),
        number(0xffffffffU),
        number(2.5F),
        number(std::nanf("")),
        number(std::numeric_limits<float>::infinity()),
        text("24"),
        {5, raw<int32_t>(-24)},
        {10, raw(std::numeric_limits<uint64_t>::max())},
        {GgufBuilder::kArray, raw<uint32_t>(4) + raw<uint64_t>(1) + raw<uint32_t>(24)},
    };
    for (const Value& value : impossible) checkRefused(with(key, value), code::kInvalidFile, key);
  }
  checkRefused(with("gpt2.feed_forward_length", number(0U)), code::kInvalidFile,
               "gpt2.feed_forward_length");
}

TEST(rejectsEpsilonsThatAreNotPositive) {
  const std::string key = "gpt2.attention.layer_norm_epsilon";
  checkRefused(without(key), code::kInvalidFile, key);
  checkRefused(with(key, text("1e-5")), code::kInvalidFile, key);
  for (const float epsilon :
       {0.F, -0.F, -1e-5F, std::nanf(""), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    checkRefused(with(key, number(epsilon)), code::kInvalidFile, key);
  }
  checkRefused(with(key, {12, raw(1e-60)}), code::kInvalidFile, key);  // 0 in f32
  checkRefused(with(key, {12, raw(1e60)}), code::kInvalidFile, key);
}

TEST(rejectsHeadCountsThatDoNotDivideTheWidth) {
  for (const uint32_t heads : {5U, 7U, 25U, 48U}) {
    checkRefused(with("gpt2.attention.head_count", number(heads)), code::kInvalidFile,
                 "not a multiple of the head count");
  }
}

TEST(rejectsMoreLayersThanTensors) {
  for (const uint32_t layers : {100U, 0x7fffffffU}) {
    checkRefused(with("gpt2.block_count", number(layers)), code::kInvalidFile,
                 "gpt2.block_count is " + std::to_string(layers));
  }
  checkRefused(with("gpt2.block_count", number(3U)), code::kInvalidFile, "blk.2.");
  checkRefused(with("gpt2.block_count", number(1U)), code::kUnsupportedModel, "blk.1.");
}

// A file of 100 bytes for each layer that it claims. No memory is allocated for missing tensors.
TEST(rejectsSurplusTensorsThatMatchTheLayerCount) {
  constexpr uint32_t kLayers = 3000;
  Draft draft;
  for (uint32_t i = 0; i < 6 * kLayers; ++i) draft.add(std::to_string(i), 1, 0, GGML_TYPE_F32);
  checkRefused(draft.set("gpt2.block_count", number(2U)), code::kUnsupportedModel, "\"0\"");
  checkRefused(draft.set("gpt2.block_count", number(kLayers)), code::kInvalidFile, "\"blk.2.");
  for (const uint32_t layers : {kLayers + 1000, 0x7fffffffU}) {
    checkRefused(draft.set("gpt2.block_count", number(layers)), code::kInvalidFile,
                 "gpt2.block_count is " + std::to_string(layers));
  }
}

// The position embedding is a hole of 300 MB at the end of the file.
TEST(rejectsCachesOfMoreElementsThanGgmlCounts) {
  constexpr uint32_t kWidth = 65536;
  const auto refusal = [](uint32_t context) {
    const auto rowBytes = ggml_row_size(GGML_TYPE_Q1_0, kWidth);
    GgufBuilder builder;
    builder.string("general.architecture", "gpt2")
        .number("gpt2.context_length", context)
        .number("gpt2.embedding_length", kWidth)
        .number("gpt2.block_count", 1U)
        .number("gpt2.attention.head_count", 1U)
        .number("gpt2.attention.layer_norm_epsilon", 1e-5F)
        .tensor("token_embd.weight", {kWidth, 1}, GGML_TYPE_Q1_0, std::string(rowBytes, '\0'));
    for (const char* name : {"1", "2", "3", "4"}) {
      builder.tensor(name, {1}, GGML_TYPE_F32, raw(0.F));
    }
    builder.tensor("position_embd.weight", {kWidth, context}, GGML_TYPE_Q1_0, "");
    const TemporaryFile file(builder.bytes());
    std::filesystem::resize_file(file.path(),
                                 std::filesystem::file_size(file.path()) + 64 + context * rowBytes);
    try {
      gpt2::Model(file.path(), gpt2::test::cpuOptions());
    } catch (const gpt2::Error& error) {
      return std::string(error.code()) + ": " + error.what();
    }
    return std::string("nothing");
  };
  const std::string tooMany = refusal(32768);
  CHECK(tooMany.rfind(code::kUnsupportedModel, 0) == 0);
  CHECK(tooMany.find("the embedding length 65536 and the context length 32768") !=
        std::string::npos);
  const std::string most = refusal(32767);  // only the layers are missing
  CHECK(most.rfind(code::kInvalidFile, 0) == 0);
  CHECK(most.find("\"blk.0.") != std::string::npos);
}

TEST(rejectsHyperparametersThatDoNotMatchTheTensors) {
  checkRefused(with("gpt2.context_length", number(47U)), code::kInvalidFile, "position_embd");
  checkRefused(with("gpt2.context_length", number(0x7fffffffU)), code::kInvalidFile,
               "position_embd");
  checkRefused(with("gpt2.embedding_length", number(32U)), code::kInvalidFile, "token_embd");
  checkRefused(with("gpt2.embedding_length", number(0x7ffffff8U)), code::kInvalidFile,
               "token_embd");
  checkRefused(with("gpt2.feed_forward_length", number(95U)), code::kInvalidFile, "ffn_up");
}

// Every tensor except the biases is required.
TEST(rejectsMissingTensors) {
  const Draft whole;
  for (const auto& [name, tensor] : whole.model.tensors()) {
    Draft draft;
    draft.model.tensors().erase(name);
    if (name.size() > 5 && name.compare(name.size() - 5, 5, ".bias") == 0) {
      checkAccepted(draft);
    } else {
      checkRefused(draft, code::kInvalidFile, "\"" + name + "\" is missing");
    }
  }
}

TEST(rejectsSurplusTensors) {
  for (const std::string name : {"blk.0.attn_q.weight", "rope_freqs.weight", "output.bias",
                                 "blk.2.attn_norm.weight", "blk.0.ffn_gate.weight", "x"}) {
    checkRefused(Draft().add(name, 24, 24, GGML_TYPE_F32), code::kUnsupportedModel,
                 "\"" + name + "\"");
  }
}

TEST(leavesOutCausalMasks) {
  for (const std::string name :
       {"h.0.attn.bias", "blk.1.attn.bias", "h.1.attn.masked_bias", "transformer.h.12.attn.bias"}) {
    const Draft draft = Draft().add(name, 48, 48, GGML_TYPE_F32);
    checkAccepted(draft);
    LoadedModel plain(Draft().bytes());
    CHECK_EQUAL(LoadedModel(draft.bytes())->weights().parameterCount(),
                plain->weights().parameterCount());
  }
  for (const std::string name : {"h..attn.bias", "h.x.attn.bias", "x.0.attn.bias", "h.0.attn.bia",
                                 "h.0.attn.bias.weight", "h.0.attn"}) {
    checkRefused(Draft().add(name, 48, 48, GGML_TYPE_F32), code::kUnsupportedModel,
                 "\"" + name + "\"");
  }
}

TEST(rejectsTensorsOfAnotherShape) {
  const Draft whole;
  for (const auto& [name, tensor] : whole.model.tensors()) {
    // One more number per row, and one more row. One more row of the vocabulary is a valid model.
    Draft longer;
    longer.add(name, tensor.in + 1, tensor.out, GGML_TYPE_F32);
    checkRefused(longer, code::kInvalidFile, "\"" + name + "\" to have the shape");
    if (name == "token_embd.weight") continue;
    Draft taller;
    taller.add(name, tensor.in, tensor.out == 0 ? 2 : tensor.out + 1, GGML_TYPE_F32);
    checkRefused(taller, code::kInvalidFile, "\"" + name + "\" to have the shape");
  }
  // A transposed head has the same number of elements.
  checkRefused(Draft().add("output.weight", 61, 24, GGML_TYPE_F32), code::kInvalidFile,
               "output.weight");
  checkRefused(Draft().add("blk.0.attn_qkv.weight", 72, 24, GGML_TYPE_F32), code::kInvalidFile,
               "attn_qkv");
  // More dimensions after two correct ones.
  for (const std::vector<uint64_t>& shape :
       {std::vector<uint64_t>{24, 72, 2}, std::vector<uint64_t>{24, 72, 1, 2}}) {
    ReferenceModel model{ReferenceShape{}};
    GgufBuilder builder = model.metadata();
    model.tensors().erase("blk.0.attn_qkv.weight");
    model.addTensors(builder).tensor("blk.0.attn_qkv.weight", shape, GGML_TYPE_F32,
                                     std::string(sizeof(float) * 24 * 72 * 2, '\0'));
    CHECK_ERROR(code::kInvalidFile, LoadedModel(builder.bytes()));
  }
}

// These types cannot be widened, or have no dot product.
TEST(rejectsTypesThatAreNotForWeights) {
  for (const ggml_type type : {GGML_TYPE_I8, GGML_TYPE_I16, GGML_TYPE_I32, GGML_TYPE_I64,
                               GGML_TYPE_F64, GGML_TYPE_Q8_1, GGML_TYPE_Q8_K}) {
    ReferenceShape shape{61, 48, 256, 8, 1};
    for (const std::string name :
         {"token_embd.weight", "position_embd.weight", "output.weight", "blk.0.attn_qkv.weight",
          "blk.0.attn_norm.weight", "blk.0.ffn_up.bias", "output_norm.bias"}) {
      shape.ownHead = true;
      Draft draft;
      draft.set("gpt2.embedding_length", number(256U)).set("gpt2.block_count", number(1U));
      draft.model = ReferenceModel(shape);
      const auto& tensor = draft.model.tensor(name);
      draft.add(name, tensor.in, tensor.out, type);
      checkRefused(draft, code::kUnsupportedModel, "\"" + name + "\" is of type");
    }
  }
}

TEST(rejectsAbsentBiasesThatAreNotBiases) {
  for (const char* name : {"token_embd.weight", "output_norm.weight", ".bias", ""}) {
    const ReferenceModel reference({7, 4, 4, 2, 1});
    GgufBuilder builder = reference.metadata();
    builder.strings("gpt2_native.absent_biases", {name});
    CHECK_ERROR(code::kInvalidFile, LoadedModel(reference.addTensors(builder).bytes()));
  }
}

// Copies of a valid model with bytes of the header changed. Each is rejected with a gpt2::Error, or
// opens and computes.
TEST(survivesChangedBytes) {
  const ReferenceModel reference({7, 4, 4, 2, 1});
  GgufBuilder builder = reference.metadata();
  builder.strings("gpt2_native.absent_biases", {"blk.0.attn_qkv.bias", "output_norm.bias"})
      .number("tokenizer.ggml.eos_token_id", 6U);
  const std::string valid = reference.addTensors(builder).bytes();
  const std::string firstTensor = reference.tensors().begin()->second.bytes;
  const size_t headerSize = valid.find(firstTensor);
  CHECK(headerSize < valid.size());
  RandomNumbers random(7);
  int opened = 0;
  constexpr int kCopies = 1500;
  for (int i = 0; i < kCopies; ++i) {
    std::string bytes = valid;
    for (uint64_t change = 1 + random.below(2); change > 0; --change) {
      const size_t at = random.below(headerSize);
      bytes[at] = static_cast<char>(random.below(2) == 0 ? random.below(256)
                                                         : bytes[at] ^ (1 << random.below(8)));
    }
    try {
      LoadedModel model(bytes);
      model.evaluateAll({0});
      ++opened;
    } catch (const gpt2::Error& error) {
      const std::string received = error.code();
      CHECK(received == code::kInvalidFile || received == code::kUnsupportedModel);
    }
  }
  CHECK(opened > kCopies / 50);
}
