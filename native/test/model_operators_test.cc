// Checks that the two operator sets agree, and that the results of FusedOps are the same bits
// however many tokens are evaluated together and however many threads there are.

#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "encoded_weights.h"
#include "loaded_model.h"
#include "reference_model.h"

using gpt2::ModelOptions;
using gpt2::OperatorSet;
using gpt2::test::cpuOptions;
using gpt2::test::distance;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;

namespace {

constexpr int64_t kVocabulary = 61;

// Heads of size 3, 5, 25, 64 and 70; an inner width that is not a multiple of any vector length.
std::vector<ReferenceShape> shapes() {
  std::vector<ReferenceShape> shapes{{kVocabulary, 300, 24, 8, 2},
                                     {kVocabulary, 300, 35, 7, 2},
                                     {kVocabulary, 300, 100, 4, 1},
                                     {kVocabulary, 300, 128, 2, 1},
                                     {kVocabulary, 300, 70, 1, 1}};
  shapes[1].inner = 53;
  return shapes;
}

ModelOptions optionsFor(ggml_type cacheType, OperatorSet operators, int threads = 1) {
  ModelOptions options = cpuOptions(threads);
  options.cacheType = cacheType;
  options.operators = operators;
  return options;
}

ReferenceModel encoded(const ReferenceShape& shape, ggml_type type) {
  const ReferenceModel original(shape);
  ReferenceModel model = original;
  for (const auto& [name, tensor] : original.tensors()) {
    if (tensor.out != 0) gpt2::test::encodeInAnyType(model, name, type);
  }
  return model;
}

}  // namespace

TEST(bothOperatorSetsAgree) {
  for (const ReferenceShape& shape : shapes()) {
    const ReferenceModel reference(shape);
    for (const ggml_type cacheType : {GGML_TYPE_F32, GGML_TYPE_F16}) {
      LoadedModel stock(reference.file(), optionsFor(cacheType, OperatorSet::kStock));
      LoadedModel fused(reference.file(), optionsFor(cacheType, OperatorSet::kFused));
      // With an f16 cache the stock set rounds queries and attention weights to f16 as well.
      const double tolerance = cacheType == GGML_TYPE_F32 ? 1e-5 : 5e-3;
      for (const size_t length : {1U, 4U, 5U, 12U, 13U, 300U}) {
        const std::vector<uint32_t> tokens = randomTokens(length, kVocabulary, length);
        const std::vector<float> expected = stock.evaluateAll(tokens);
        const std::vector<float> logits = fused.evaluateAll(tokens);
        for (size_t row = 0; row < length; ++row) {
          const float* begin = expected.data() + row * kVocabulary;
          CHECK_NEAR(distance(logits.data() + row * kVocabulary,
                              std::vector<float>(begin, begin + kVocabulary))
                         .largest,
                     0, tolerance);
        }
      }
    }
  }
}

TEST(anyBatchSizesAndThreadCountsGiveTheSameBits) {
  for (const ReferenceShape& shape : shapes()) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
      const std::string file = encoded(shape, type).file();
      const std::vector<uint32_t> tokens = randomTokens(290, kVocabulary, 3);
      for (const ggml_type cacheType : {GGML_TYPE_F32, GGML_TYPE_F16}) {
        LoadedModel model(file, optionsFor(cacheType, OperatorSet::kFused));
        const std::vector<float> expected = model.evaluateAll(tokens);
        for (const int threads : {1, 3}) {
          LoadedModel other(file, optionsFor(cacheType, OperatorSet::kFused, threads));
          const auto session = other->createSession();
          std::vector<float> logits;
          for (const size_t length :
               {1U, 1U, 2U, 3U, 4U, 5U, 11U, 12U, 13U, 1U, 97U, 4U, 120U, 16U}) {
            const size_t begin = static_cast<size_t>(session->length());
            const std::vector<float> more =
                other.evaluateAll(*session, session->length(),
                                  {tokens.data() + begin, tokens.data() + begin + length});
            logits.insert(logits.end(), more.begin(), more.end());
          }
          CHECK_EQUAL(session->length(), 290);
          CHECK(logits == expected);
        }
      }
    }
  }
}

TEST(selectedRowsEqualThoseOfAllRows) {
  for (const ReferenceShape& shape : shapes()) {
    LoadedModel model(ReferenceModel(shape).file(),
                      optionsFor(GGML_TYPE_F32, OperatorSet::kFused, 2));
    const std::vector<uint32_t> tokens = randomTokens(270, kVocabulary, 4);
    const std::vector<float> all = model.evaluateAll(tokens);
    for (const std::vector<int64_t>& positions : std::vector<std::vector<int64_t>>{
             {269}, {0}, {5, 5, 3}, {0, 11, 12, 13, 100, 255, 256, 257}, {260, 1, 140}}) {
      const std::vector<float> rows = model.evaluate(*model->createSession(), 0, tokens, positions);
      for (size_t i = 0; i < positions.size(); ++i) {
        for (int64_t j = 0; j < kVocabulary; ++j) {
          CHECK_EQUAL(rows[i * kVocabulary + static_cast<size_t>(j)],
                      all[static_cast<size_t>(positions[i] * kVocabulary + j)]);
        }
      }
    }
  }
}

// A later token puts infinities and NaN into the cache; 0 times either would be NaN.
TEST(infinityAndNanDoNotReachEarlierTokens) {
  ReferenceModel reference({kVocabulary, 64, 24, 8, 1});
  const std::vector<uint32_t> tokens = randomTokens(40, kVocabulary, 5);
  const std::vector<double>& values = reference.tensor("token_embd.weight").values;
  std::vector<float> embedding(values.begin(), values.end());
  const size_t odd = tokens[20];
  for (size_t i = 0; i < 24; ++i) embedding[odd * 24 + i] = i % 2 == 0 ? 1e30F : NAN;
  reference.setBytes("token_embd.weight", GGML_TYPE_F32, gpt2::test::raw(embedding));
  LoadedModel model(reference.file(), optionsFor(GGML_TYPE_F32, OperatorSet::kFused));
  const std::vector<float> logits = model.evaluateAll(tokens);
  bool wasOdd = false;
  for (size_t row = 0; row < tokens.size(); ++row) {
    wasOdd = wasOdd || tokens[row] == odd;
    // The head is tied, so the logit of the odd token itself is NaN in every row.
    const size_t column = odd == 0 ? 1 : 0;
    CHECK_EQUAL(std::isnan(logits[row * kVocabulary + column]), wasOdd);
  }
  CHECK(wasOdd);
}
