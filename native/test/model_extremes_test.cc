// The smallest and the deepest models, and more threads than work.

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "loaded_model.h"
#include "reference_model.h"
#include "stages.h"

using gpt2::ModelOptions;
using gpt2::test::cpuOptions;
using gpt2::test::distance;
using gpt2::test::indexOfLargest;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;

namespace {

ReferenceShape shapeOf(size_t vocabulary, size_t context, size_t width, size_t heads, size_t layers,
                       size_t inner, bool ownHead = false) {
  ReferenceShape shape{vocabulary, context, width, heads, layers};
  shape.inner = inner;
  shape.ownHead = ownHead;
  return shape;
}

ModelOptions withCache(ggml_type type) {
  ModelOptions options = cpuOptions();
  options.cacheType = type;
  return options;
}

// Evaluates and generates up to the context length. The errors are absolute, since the logits of a
// vocabulary of one have no standard deviation.
void checkSmall(const ReferenceShape& shape) {
  const ReferenceModel reference(shape);
  const size_t length = std::min<size_t>(shape.context, 20);
  const std::vector<uint32_t> tokens = randomTokens(length, shape.vocabulary, 5);
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  const std::pair<ggml_type, double> caches[] = {{GGML_TYPE_F32, 2e-5}, {GGML_TYPE_F16, 2e-2}};
  for (const auto& [cache, tolerance] : caches) {
    LoadedModel model(reference.file(), withCache(cache));
    const auto session = model->createSession();
    const std::vector<float> together = model.evaluateAll(*session, 0, tokens);
    const auto stepwise = model->createSession();
    for (size_t row = 0; row < length; ++row) {
      const std::vector<float> alone =
          model.evaluateLast(*stepwise, static_cast<int64_t>(row), {tokens[row]});
      for (size_t i = 0; i < shape.vocabulary; ++i) {
        CHECK_NEAR(together[row * shape.vocabulary + i], expected[row][i], tolerance);
        CHECK_NEAR(alone[i], expected[row][i], tolerance);
      }
    }
    const auto copy = model->createSession();
    copy->copyFrom(*session);
    gpt2::GenerateOptions options;
    options.maxTokens = 2;
    options.stages = {gpt2::test::greedyStage()};
    std::vector<uint32_t> drawn;
    gpt2::test::generate(
        *model, *copy, static_cast<int64_t>(length), {}, options,
        [&](gpt2::NewToken&& token) { drawn.push_back(token.token); }, nullptr);
    CHECK_EQUAL(drawn.size(), std::min<size_t>(2, shape.context - length));
    if (!drawn.empty() && cache == GGML_TYPE_F32) {
      CHECK_EQUAL(drawn[0], indexOfLargest(expected.back().data(), shape.vocabulary));
    }
  }
}

}  // namespace

TEST(aVocabularyOfOne) { checkSmall(shapeOf(1, 48, 24, 8, 2, 96)); }

TEST(aContextOfOne) { checkSmall(shapeOf(61, 1, 24, 8, 2, 96)); }

TEST(aWidthOfOne) { checkSmall(shapeOf(61, 48, 1, 1, 2, 96)); }

TEST(oneHead) { checkSmall(shapeOf(61, 48, 24, 1, 2, 96)); }

TEST(oneLayer) { checkSmall(shapeOf(61, 48, 24, 8, 1, 96)); }

TEST(anInnerLengthOfOne) { checkSmall(shapeOf(61, 48, 24, 8, 2, 1)); }

TEST(everySizeOne) {
  checkSmall(shapeOf(1, 1, 1, 1, 1, 1));
  checkSmall(shapeOf(1, 1, 1, 1, 1, 1, true));
  checkSmall(shapeOf(1, 40, 1, 1, 1, 1));
}

// Memory for graphs and caches is allocated per layer. As in GPT-2's initialisation, the output of
// a layer is scaled down with the number of layers. Otherwise the errors would grow from layer to
// layer.
TEST(threeHundredLayers) {
  constexpr double kTolerance = 1e-4;
  ReferenceModel reference({11, 130, 4, 2, 300});
  for (size_t i = 0; i < 300; ++i) {
    for (const char* part : {".attn_output", ".ffn_down"}) {
      for (const char* kind : {".weight", ".bias"}) {
        const std::string name = "blk." + std::to_string(i) + part + kind;
        for (double& value : reference.tensor(name).values) value /= 10;
        reference.encode(name, GGML_TYPE_F32);
      }
    }
  }
  const std::vector<uint32_t> tokens = randomTokens(125, 11, 5);
  const std::vector<std::vector<double>> expected = reference.logits(tokens);
  LoadedModel model(reference.file());
  const auto session = model->createSession();
  const auto check = [&](gpt2::Session& ofOne, size_t begin, size_t end) {
    const std::vector<float> logits = model.evaluateAll(
        ofOne, static_cast<int64_t>(begin), {tokens.data() + begin, tokens.data() + end});
    for (size_t row = begin; row < end; ++row) {
      CHECK_NEAR(distance(logits.data() + (row - begin) * 11, expected[row]).largest, 0,
                 kTolerance);
    }
  };
  check(*session, 0, 60);
  check(*session, 60, 61);
  check(*session, 61, 120);  // the cache grows
  const auto copy = model->createSession();
  copy->copyFrom(*session);
  CHECK_EQUAL(copy->evaluated(), 120);
  check(*copy, 120, 125);
}

// Matrices of one, two and three rows, which leave most threads without work. The same when a cache
// grows and is copied.
TEST(moreThreadsThanRows) {
  for (const size_t width : {1U, 2U}) {
    const ReferenceModel reference({2, 70, width, width, 1});
    const std::vector<uint32_t> tokens = randomTokens(70, 2, 6);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 4}) {
      LoadedModel model(reference.file(), cpuOptions(threads));
      const auto session = model->createSession();
      std::vector<float> logits = model.evaluateAll(*session, 0, {tokens[0]});
      const auto add = [&](gpt2::Session& ofOne, size_t begin, size_t end) {
        const std::vector<float> more = model.evaluateAll(
            ofOne, static_cast<int64_t>(begin), {tokens.data() + begin, tokens.data() + end});
        logits.insert(logits.end(), more.begin(), more.end());
      };
      add(*session, 1, 64);
      add(*session, 64, 66);  // the cache grows
      const auto copy = model->createSession();
      copy->copyFrom(*session);
      CHECK_EQUAL(copy->evaluated(), 66);
      add(*copy, 66, 70);
      results.push_back(logits);
    }
    CHECK(results[0] == results[1]);
    const std::vector<std::vector<double>> expected = reference.logits(tokens);
    for (size_t i = 0; i < results[0].size(); ++i) {
      CHECK_NEAR(results[0][i], expected[i / 2][i % 2], 2e-5);
    }
  }
}

TEST(moreThreadsThanProcessors) {
  const ReferenceModel reference({3, 4, 2, 1, 1});
  LoadedModel model(reference.file(), cpuOptions(16));
  CHECK_EQUAL(model->device().threads(), 16);
  const std::vector<float> logits = model.evaluateAll({1});
  const std::vector<double> expected = reference.logits({1}).back();
  for (size_t i = 0; i < 3; ++i) CHECK_NEAR(logits[i], expected[i], 2e-5);
}

// Only creates the device: computing with this many threads would take too long.
TEST(theMaximumNumberOfThreads) {
  const gpt2::Device device("cpu", 512);
  CHECK_EQUAL(device.threads(), 512);
}
