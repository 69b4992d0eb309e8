// Compares the engine's logits with those of the reference model, for f32 weights.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "gguf_builder.h"
#include "loaded_model.h"
#include "reference_model.h"

using gpt2::ForwardPass;
using gpt2::ModelOptions;
using gpt2::OperatorSet;
using gpt2::test::cpuOptions;
using gpt2::test::distance;
using gpt2::test::GgufBuilder;
using gpt2::test::indexOfLargest;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;

namespace {

// In standard deviations of a row of logits. The rounding errors of f32 at these sizes are at most
// a quarter of it.
constexpr double kTolerance = 1e-5;

void checkRow(const float* logits, const std::vector<double>& expected) {
  CHECK_NEAR(distance(logits, expected).largest, 0, kTolerance);
  CHECK_EQUAL(indexOfLargest(logits, expected.size()),
              indexOfLargest(expected.data(), expected.size()));
}

void checkExact(LoadedModel& model, const ReferenceModel& reference,
                const std::vector<uint32_t>& tokens) {
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  const std::vector<float> logits = model.evaluateAll(tokens);
  for (size_t row = 0; row < tokens.size(); ++row) {
    checkRow(logits.data() + row * expected[row].size(), expected[row]);
  }
}

void checkExact(const ReferenceModel& reference, size_t length) {
  LoadedModel model(reference.file());
  checkExact(model, reference, randomTokens(length, reference.shape().vocabulary, 5));
}

}  // namespace

TEST(headSizeThree) { checkExact(ReferenceModel({61, 48, 24, 8, 2}), 48); }

// 1 token: decode; 48: prefill.
TEST(everyActivationInBothOperatorSets) {
  for (const char* activation : {"gelu_new", "gelu", "relu", "silu"}) {
    ReferenceShape shape;
    shape.activation = activation;
    const ReferenceModel reference(shape);
    for (const OperatorSet operators : {OperatorSet::kStock, OperatorSet::kFused}) {
      ModelOptions options = cpuOptions();
      options.operators = operators;
      LoadedModel model(reference.file(), options);
      checkExact(model, reference, randomTokens(1, shape.vocabulary, 5));
      checkExact(model, reference, randomTokens(48, shape.vocabulary, 5));
    }
  }
}

TEST(anOddWidthWithSevenHeads) { checkExact(ReferenceModel({83, 40, 35, 7, 3}), 40); }

TEST(oneHead) { checkExact(ReferenceModel({61, 33, 20, 1, 2}), 33); }

TEST(headSizeOne) { checkExact(ReferenceModel({61, 33, 6, 6, 2}), 33); }

TEST(aWidthOfOne) { checkExact(ReferenceModel({5, 8, 1, 1, 1}), 8); }

TEST(headSize64AsInGpt2) { checkExact(ReferenceModel({500, 64, 192, 3, 4}), 50); }

TEST(everyPromptLengthUpTo70) {
  const ReferenceModel reference({61, 70, 24, 8, 1});
  LoadedModel model(reference.file());
  for (size_t length = 1; length <= 70; ++length) {
    checkExact(model, reference, randomTokens(length, 61, length));
  }
}

TEST(anUntiedHead) {
  ReferenceShape shape;
  shape.ownHead = true;
  const ReferenceModel reference(shape);
  LoadedModel model(reference.file());
  CHECK(!model->weights().headIsTied());
  checkExact(model, reference, randomTokens(30, shape.vocabulary, 2));
}

TEST(aTiedHead) {
  const ReferenceModel reference({});
  LoadedModel model(reference.file());
  CHECK(model->weights().headIsTied());
  // Embeddings, two layers and the final norm.
  constexpr int64_t kWidth = 24;
  constexpr int64_t kLayer = 12 * kWidth * kWidth + 13 * kWidth;
  CHECK_EQUAL(model->weights().parameterCount(), (61 + 48) * kWidth + 2 * kLayer + 2 * kWidth);
}

TEST(anInnerLengthOtherThanFourTimesTheWidth) {
  ReferenceShape shape;
  shape.inner = 50;
  checkExact(ReferenceModel(shape), 30);
}

TEST(anotherEpsilon) {
  ReferenceShape shape;
  shape.epsilon = 0.5;
  checkExact(ReferenceModel(shape), 30);
  shape.epsilon = 1e-12;
  checkExact(ReferenceModel(shape), 30);
}

// x³ in the formula of GELU must not overflow, and its quotient must not become 0/0.
TEST(activationsFarFromZero) {
  ReferenceModel reference({});
  for (const char* name : {"blk.0.ffn_up.bias", "blk.1.ffn_up.bias"}) {
    auto& values = reference.tensor(name).values;
    for (size_t i = 0; i < values.size(); ++i) values[i] = (i % 2 == 0 ? 1 : -1) * 50.0 * i;
    values[0] = 0;
    reference.encode(name, GGML_TYPE_F32);
  }
  checkExact(reference, 30);
}

TEST(missingBiases) {
  ReferenceModel all({});
  for (const std::string part :
       {"attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"}) {
    ReferenceModel reference({});
    const std::string name = "blk.1." + part + ".bias";
    reference.tensors().erase(name);
    checkExact(reference, 20);
    all.tensors().erase("blk.0." + part + ".bias");
    all.tensors().erase(name);
  }
  all.tensors().erase("output_norm.bias");
  LoadedModel model(all.file());
  CHECK_EQUAL(model->weights().absentBiases().size(), 13U);
  checkExact(model, all, randomTokens(30, 61, 3));
}

// The converter writes zeros for a bias that the checkpoint lacks, and lists it in the metadata.
TEST(zeroBiasesListedAsAbsent) {
  ReferenceModel reference({});
  const std::vector<std::string> absent{"blk.0.attn_qkv.bias", "blk.0.attn_output.bias",
                                        "blk.1.ffn_norm.bias", "blk.1.ffn_up.bias",
                                        "output_norm.bias"};
  for (const std::string& name : absent) reference.zero(name);
  GgufBuilder builder = reference.metadata();
  builder.strings("gpt2_native.absent_biases", absent);
  LoadedModel listed(reference.addTensors(builder).bytes());
  LoadedModel unlisted(reference.file());
  CHECK((std::set<std::string>(listed->weights().absentBiases().begin(),
                               listed->weights().absentBiases().end()) ==
         std::set<std::string>(absent.begin(), absent.end())));
  CHECK(unlisted->weights().absentBiases().empty());
  CHECK(listed->weights().layers()[0].attentionQkv.bias == nullptr);
  CHECK(unlisted->weights().layers()[0].attentionQkv.bias != nullptr);
  CHECK_EQUAL(unlisted->weights().parameterCount() - listed->weights().parameterCount(),
              72 + 24 + 24 + 96 + 24);
  const std::vector<uint32_t> tokens = randomTokens(30, 61, 3);
  checkExact(listed, reference, tokens);
  checkExact(unlisted, reference, tokens);
}

TEST(severalBatchesAndRunsOfTheHead) {
  const ReferenceModel reference({37, 2 * ForwardPass::kMaxBatchTokens + 60, 24, 8, 2});
  LoadedModel model(reference.file());
  for (const int64_t length :
       {ForwardPass::kMaxHeadRows + 1, ForwardPass::kMaxBatchTokens,
        ForwardPass::kMaxBatchTokens + 1, 2 * ForwardPass::kMaxBatchTokens + 60}) {
    checkExact(model, reference, randomTokens(static_cast<size_t>(length), 37, 9));
  }
}

TEST(positionsInAnyOrderWithDuplicates) {
  const ReferenceModel reference({37, 600, 24, 8, 2});
  LoadedModel model(reference.file());
  const std::vector<uint32_t> tokens = randomTokens(560, 37, 4);
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  std::vector<int64_t> positions{559, 0,   255, 256, 257, 0,   511, 512,
                                 1,   559, 100, 300, 255, 513, 0,   44};
  for (int64_t i = 0; i < 150; ++i)
    positions.push_back(i * 211 % 560);  // more than kMaxHeadRows in total
  const std::vector<float> logits = model.evaluate(*model->createSession(), 0, tokens, positions);
  for (size_t i = 0; i < positions.size(); ++i) {
    checkRow(logits.data() + i * 37, expected[static_cast<size_t>(positions[i])]);
  }
}

TEST(noPositions) {
  const ReferenceModel reference({});
  LoadedModel model(reference.file());
  const auto session = model->createSession();
  const std::vector<uint32_t> tokens = randomTokens(20, 61, 4);
  CHECK(model.evaluate(*session, 0, tokens, {}).empty());
  CHECK_EQUAL(session->length(), 20);
  const std::vector<float> logits = model.evaluateLast(*session, 20, {7});
  std::vector<uint32_t> whole = tokens;
  whole.push_back(7);
  checkRow(logits.data(), reference.logits(whole).back());
}

// The order of additions must not depend on the distribution of work.
TEST(anyNumberOfThreadsGivesTheSameBits) {
  for (const size_t width : {24U, 96U}) {
    const ReferenceModel reference({211, 40, width, 8, 1});
    const std::vector<uint32_t> tokens = randomTokens(37, 211, 6);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
      LoadedModel model(reference.file(), cpuOptions(threads));
      CHECK_EQUAL(model->device().threads(), threads);
      results.push_back(model.evaluateAll(tokens));
      const std::vector<float> single = model.evaluateLast(*model->createSession(), 0, {3});
      results.back().insert(results.back().end(), single.begin(), single.end());
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
  }
}

TEST(aFileInMemoryGivesTheSameBits) {
  const ReferenceModel reference({});
  const std::vector<uint32_t> tokens = randomTokens(40, 61, 6);
  ModelOptions options = cpuOptions();
  LoadedModel mapped(reference.file(), options);
  options.map = false;
  LoadedModel copied(reference.file(), options);
  CHECK(mapped.evaluateAll(tokens) == copied.evaluateAll(tokens));
  CHECK_EQUAL(mapped->weights().files().anonymousBytes(), 0U);
  CHECK(copied->anonymousBytes() > mapped->anonymousBytes());
}

// ggml's buffers need an alignment of 32 bytes. Other programs may write files with less.
TEST(anyAlignmentGivesTheSameBits) {
  const ReferenceModel reference({});
  const std::vector<uint32_t> tokens = randomTokens(40, 61, 6);
  const std::vector<float> expected = LoadedModel(reference.file()).evaluateAll(tokens);
  for (const uint32_t alignment : {8U, 16U, 64U}) {
    GgufBuilder builder = reference.metadata();
    builder.number("general.alignment", alignment);
    builder.alignment = alignment;
    // The padding moves the data off a multiple of 32.
    for (const size_t padding : {0U, 8U, 16U}) {
      GgufBuilder padded = builder;
      padded.string("padding", std::string(padding, ' '));
      ModelOptions options = cpuOptions();
      options.map = padding != 8;
      LoadedModel model(reference.addTensors(padded).bytes(), options);
      CHECK(model.evaluateAll(tokens) == expected);
    }
  }
}

// The f16 cache rounds keys and values to 11 bits. Nothing else changes.
TEST(anF16CacheIsClose) {
  const ReferenceModel reference({61, 48, 24, 8, 2});
  const std::vector<uint32_t> tokens = randomTokens(48, 61, 5);
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  ModelOptions options = cpuOptions();
  options.cacheType = GGML_TYPE_F16;
  LoadedModel half(reference.file(), options);
  LoadedModel standard(reference.file());
  CHECK_EQUAL(half->cacheType(), GGML_TYPE_F16);
  CHECK_EQUAL(standard->cacheType(), GGML_TYPE_F32);
  const std::vector<float> logits = half.evaluateAll(tokens);
  double worst = 0;
  for (size_t row = 0; row < tokens.size(); ++row) {
    worst = std::max(worst, distance(logits.data() + row * 61, expected[row]).largest);
  }
  CHECK(worst > kTolerance);  // otherwise the cache was not in f16
  CHECK_NEAR(worst, 0, 2e-2);
}
