// Weights in every type that ggml can multiply with, compared with the reference model on the
// decoded weights. The remaining error is that of f32, or comes from the activations, which are
// rounded for types that are multiplied in integers.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "encoded_weights.h"
#include "kernels/quantized_product.h"
#include "loaded_model.h"
#include "reference_model.h"

using gpt2::ModelOptions;
using gpt2::test::cpuOptions;
using gpt2::test::Distance;
using gpt2::test::distance;
using gpt2::test::encodeInAnyType;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::typesWithDotProduct;

namespace {

// Bounds on the errors in one row of logits, in its standard deviations.
struct Bound {
  double rootMeanSquare, largest;
};

// Products in f32, with a KV cache in f32 or in f16.
constexpr Bound kInFloats{2e-5, 1e-4};
constexpr Bound kWithHalfCache{2e-3, 8e-3};
// Activations are rounded to steps of 1/127 of the largest element of a block of 32.
constexpr Bound kInIntegers{3e-2, 0.1};

ReferenceShape shapeForAllBlocks() {
  ReferenceShape shape{96, 40, 256, 8, 1};
  shape.inner = 512;
  return shape;
}

void checkWithin(const char* what, ggml_type type, const Distance& error, const Bound& bound) {
  if (error.rootMeanSquare <= bound.rootMeanSquare && error.largest <= bound.largest) return;
  gpt2::test::fail(__FILE__, __LINE__,
                   std::string(ggml_type_name(type)) + ", " + what + ": root mean square " +
                       std::to_string(error.rootMeanSquare) + ", largest " +
                       std::to_string(error.largest));
}

}  // namespace

TEST(theListOfTypesIsComplete) {
  const std::vector<ggml_type> types = typesWithDotProduct();
  const std::set<ggml_type> set(types.begin(), types.end());
  CHECK(set.size() >= 28);
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                               GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ2_XXS}) {
    CHECK_EQUAL(set.count(type), 1U);
  }
}

TEST(matricesInEveryType) {
  const ReferenceModel numbers(shapeForAllBlocks());
  const std::vector<uint32_t> tokens = randomTokens(9, 96, 1);
  for (const ggml_type type : typesWithDotProduct()) {
    ReferenceModel reference = numbers;
    for (const auto& [name, tensor] : numbers.tensors()) {
      if (tensor.out != 0) encodeInAnyType(reference, name, type);
    }
    const std::vector<std::vector<double>> expected = reference.logits(tokens);
    ModelOptions options = cpuOptions();
    options.cacheType = GGML_TYPE_F32;
    LoadedModel model(reference.file(), options);
    CHECK_EQUAL(model->weights().dominantType(), type);
    const Bound bound = gpt2::isIntegerType(type) ? kInIntegers : kInFloats;

    const std::vector<float> together = model.evaluateAll(tokens);
    const auto session = model->createSession();
    for (size_t row = 0; row < tokens.size(); ++row) {
      checkWithin("together", type, distance(together.data() + row * 96, expected[row]), bound);
      const std::vector<float> alone =
          model.evaluateLast(*session, static_cast<int64_t>(row), {tokens[row]});
      CHECK(std::equal(alone.begin(), alone.end(), together.begin() + row * 96));
    }
  }
}

// Few and many tokens take different kernels.
TEST(slicesOfAnyLengthGiveTheBitsOfTheWholePromptInEveryType) {
  for (const ggml_type type :
       {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
        GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q3_K, GGML_TYPE_IQ4_NL}) {
    ReferenceModel reference(shapeForAllBlocks());
    reference.encodeMatrices(type);
    LoadedModel model(reference.file());
    const std::vector<uint32_t> tokens = randomTokens(40, 96, 7);
    const std::vector<float> whole = model.evaluateAll(tokens);
    for (const size_t length : {1U, 3U, 4U, 5U, 8U, 9U, 13U, 40U}) {
      const auto session = model->createSession();
      for (size_t start = 0; start < tokens.size(); start += length) {
        const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(start);
        const auto count = static_cast<std::ptrdiff_t>(std::min(length, tokens.size() - start));
        const std::vector<float> logits =
            model.evaluateAll(*session, static_cast<int64_t>(start), {begin, begin + count});
        CHECK(std::equal(logits.begin(), logits.end(),
                         whole.begin() + static_cast<std::ptrdiff_t>(start * 96)));
      }
    }
  }
}

// As in quantised models: each kind of matrix has its own type, vectors are f32.
TEST(mixedTypesInOneModel) {
  ReferenceModel reference(shapeForAllBlocks());
  const std::map<std::string, ggml_type> types{
      {"token_embd.weight", GGML_TYPE_Q6_K},     {"position_embd.weight", GGML_TYPE_Q5_0},
      {"blk.0.attn_qkv.weight", GGML_TYPE_Q5_K}, {"blk.0.attn_output.weight", GGML_TYPE_F16},
      {"blk.0.ffn_up.weight", GGML_TYPE_BF16},   {"blk.0.ffn_down.weight", GGML_TYPE_Q4_1}};
  for (const auto& [name, type] : types) reference.encode(name, type);
  LoadedModel model(reference.file());
  const std::vector<uint32_t> tokens = randomTokens(40, 96, 2);
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  const std::vector<float> logits = model.evaluateAll(tokens);
  for (size_t row = 0; row < tokens.size(); ++row) {
    checkWithin("mixed", GGML_TYPE_Q6_K, distance(logits.data() + row * 96, expected[row]),
                kInIntegers);
  }
}

// Embedding tables and vectors are widened to f32 and never multiplied: the error is that of f32.
TEST(tablesAndVectorsInEveryType) {
  ReferenceShape shape = shapeForAllBlocks();
  shape.ownHead = true;
  const ReferenceModel numbers(shape);
  const std::vector<uint32_t> tokens = randomTokens(3, 96, 3);
  for (const ggml_type type : typesWithDotProduct()) {
    ReferenceModel reference = numbers;
    for (const auto& [name, tensor] : numbers.tensors()) {
      if (tensor.out == 0) encodeInAnyType(reference, name, type);
    }
    encodeInAnyType(reference, "token_embd.weight", type);
    encodeInAnyType(reference, "position_embd.weight", type);
    LoadedModel model(reference.file());
    const std::vector<std::vector<double>> expected = reference.logits(tokens);
    const std::vector<float> logits = model.evaluateAll(tokens);
    for (size_t row = 0; row < tokens.size(); ++row) {
      const Distance error = distance(logits.data() + row * 96, expected[row]);
      checkWithin("widened", type, error, kInFloats);
    }
  }
}

// Seven heads of size 5: rows that are no multiple of a vector register, in the types that allow
// them.
TEST(oddWidthsInHalfPrecision) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16}) {
    ReferenceModel reference({83, 40, 35, 7, 2});
    reference.encodeMatrices(type);
    for (const auto& [name, tensor] : reference.tensors()) {
      if (tensor.out == 0) reference.encode(name, GGML_TYPE_F16);
    }
    LoadedModel model(reference.file());
    CHECK_EQUAL(model->cacheType(), GGML_TYPE_F16);
    const std::vector<uint32_t> tokens = randomTokens(40, 83, 4);
    const std::vector<std::vector<double>> expected = reference.logits(tokens);
    const std::vector<float> logits = model.evaluateAll(tokens);
    for (size_t row = 0; row < tokens.size(); ++row) {
      checkWithin("odd width", type, distance(logits.data() + row * 83, expected[row]),
                  kWithHalfCache);
    }
  }
}

// A matrix that is not aligned to 32 bytes is copied to aligned memory.
TEST(quantisedMatricesAtOtherAlignments) {
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_F16}) {
    ReferenceModel reference(shapeForAllBlocks());
    reference.encodeMatrices(type);
    const std::vector<uint32_t> tokens = randomTokens(5, 96, 5);
    const std::vector<float> expected = LoadedModel(reference.file()).evaluateAll(tokens);
    for (const uint32_t alignment : {8U, 16U}) {
      gpt2::test::GgufBuilder builder = reference.metadata();
      builder.number("general.alignment", alignment).string("shift", "four");
      builder.alignment = alignment;
      LoadedModel model(reference.addTensors(builder).bytes());
      CHECK(model.evaluateAll(tokens) == expected);
    }
  }
}

TEST(quantisedModelsGiveTheSameBitsOnAnyNumberOfThreads) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
    ReferenceModel reference(shapeForAllBlocks());
    reference.encodeMatrices(type);
    const std::vector<uint32_t> tokens = randomTokens(37, 96, 6);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3}) {
      LoadedModel model(reference.file(), cpuOptions(threads));
      results.push_back(model.evaluateAll(tokens));
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
  }
}
