// Cancellation by a flag that another thread sets. The session stays usable.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/tensor_context.h"
#include "session_checks.h"

using gpt2::CancelFlag;
using gpt2::test::checkSame;
using gpt2::test::cpuOptions;
using gpt2::test::generate;
using gpt2::test::Generated;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::slice;
namespace code = gpt2::code;

TEST(aFlagThatIsAlreadySetCancelsACall) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}).file(), cpuOptions(2));
  const std::vector<uint32_t> tokens = randomTokens(300, kVocabulary, 15);
  const std::vector<float> expected = model.evaluateAll(tokens);
  const CancelFlag cancelled(true);
  const auto session = model->createSession();
  CHECK_ERROR(code::kAborted, model.evaluateAll(*session, 0, tokens, &cancelled));
  CHECK_ERROR(code::kAborted, generate(model, *session, 0, {1, 2}, greedy(5), &cancelled));
  const CancelFlag unset(false);
  CHECK(model.evaluateAll(*session, 0, tokens, &unset) == expected);
  CHECK(model.evaluateAll(*session, 0, tokens) == expected);
}

// Cancellation also works within a graph: the last node of a chain is not computed.
TEST(aFlagThatIsAlreadySetCancelsAGraph) {
  for (const int threads : {1, 2}) {
    gpt2::Device device("cpu", threads);
    constexpr size_t kNodes = 50;
    const gpt2::TensorContext context(kNodes + 20);
    ggml_tensor* input = ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, 8);
    ggml_tensor* output = input;
    for (size_t i = 0; i < kNodes; ++i) output = ggml_neg(context.get(), output);
    const gpt2::TensorContext graphContext(0, kNodes + 1);
    ggml_cgraph* graph = ggml_new_graph_custom(graphContext.get(), kNodes + 1, false);
    ggml_build_forward_expand(graph, output);
    const gpt2::BufferPtr buffer = device.allocate(context.get());
    const float before = 7;
    const float numbers[8] = {1, 2, 3, 4, 5, 6, 8, 9};
    float after = 0;
    ggml_backend_tensor_set(input, numbers, 0, sizeof numbers);
    ggml_backend_tensor_set(output, &before, 0, sizeof before);

    const CancelFlag cancelled(true);
    CHECK_ERROR(code::kAborted, device.compute(graph, &cancelled));
    ggml_backend_tensor_get(output, &after, 0, sizeof after);
    CHECK_EQUAL(after, 7);
    device.compute(graph, nullptr);
    ggml_backend_tensor_get(output, &after, 0, sizeof after);
    CHECK_EQUAL(after, 1);
  }
}

// What was appended stays, evaluated as far as it got; the next call does the rest.
TEST(aStoppedEvaluationGoesOnWhereItWas) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}).file());
  const std::vector<uint32_t> tokens = randomTokens(300, kVocabulary, 16);
  const CancelFlag cancelled(true);
  const auto session = model->createSession();
  model.evaluateAll(*session, 0, slice(tokens, 0, 10));
  CHECK_ERROR(code::kAborted,
              model.evaluate(*session, 10, slice(tokens, 10, 299), {0}, &cancelled));
  CHECK_EQUAL(session->length(), 299);
  CHECK(session->evaluated() < 299);
  const std::vector<float> expected = model.evaluateLast(*model->createSession(), 0, tokens);
  checkSame(model.evaluateLast(*session, 299, {tokens[299]}), expected);
}

// Another thread sets the flag during the work, which takes a few hundred milliseconds. If that
// thread is descheduled for longer, the test tries again.
TEST(aFlagSetDuringACallCancelsIt) {
  ReferenceShape shape{200, 1024, 192, 3, 4};
  ReferenceModel reference(shape);
  for (const int threads : {1, 2}) {
    LoadedModel model(reference.file(), cpuOptions(threads));
    const std::vector<uint32_t> tokens = randomTokens(1024, 200, 17);
    const auto session = model->createSession();
    bool stopped = false;
    for (int attempt = 0; attempt < 10 && !stopped; ++attempt) {
      CancelFlag cancelled(false);
      std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        cancelled = true;
      });
      try {
        model.evaluateAll(*session, 0, tokens, &cancelled);
      } catch (const gpt2::Error& error) {
        stopped = std::string(error.code()) == code::kAborted;
      }
      other.join();
    }
    CHECK(stopped);
    const std::vector<uint32_t> few = slice(tokens, 0, 40);
    const std::vector<float> expected = model.evaluateLast(*model->createSession(), 0, few);
    CHECK(model.evaluateLast(*session, 0, few) == expected);
  }
}

// The head runs after the transformer. A request that is cancelled there has not received all
// logits.
TEST(aBatchCancelledInTheHeadIsRepeated) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}).file(), cpuOptions(2));
  const std::vector<uint32_t> tokens = randomTokens(200, kVocabulary, 19);
  const std::vector<float> expected = model.evaluateAll(tokens);

  // Sets its flag when it receives logits from the first of several runs of the head.
  class Stopping final : public gpt2::Request {
   public:
    Stopping(gpt2::Model& model, std::shared_ptr<gpt2::Session> session,
             const std::vector<uint32_t>& tokens)
        : Request(model, std::move(session), 0, tokens), logits(tokens.size() * kVocabulary) {
      for (size_t i = 0; i < tokens.size(); ++i) positions_.push_back(static_cast<int64_t>(i));
    }
    bool isFinished() const override { return session().evaluated() == session().length(); }
    const std::vector<int64_t>& outputPositions() const override { return positions_; }

    CancelFlag cancelled{false};
    std::vector<float> logits;

   private:
    void onOutput(size_t index, const float* row) override {
      if (index == 0) cancelled = !cancelled;
      std::copy_n(row, kVocabulary, logits.data() + index * kVocabulary);
    }
    std::vector<int64_t> positions_;
  };
  Stopping request(*model, model->createSession(), tokens);
  request.begin();
  CHECK_ERROR(code::kAborted, gpt2::evaluate(*model, {&request}, &request.cancelled));
  CHECK(!request.isFinished());
  request.logits.assign(request.logits.size(), 0);
  while (!request.isFinished()) gpt2::evaluate(*model, {&request}, nullptr);
  CHECK(request.logits == expected);
}

// Of more requests than one run of the head has rows for, those that received their logits go on,
// and the others are evaluated again.
TEST(aBatchCancelledBetweenRunsOfTheHeadIsDoneForSome) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}).file(), cpuOptions(2));
  constexpr size_t kCount = 70;
  std::vector<std::vector<uint32_t>> drawn(kCount);
  std::vector<std::unique_ptr<gpt2::GenerateRequest>> requests;
  std::vector<gpt2::Request*> running;
  for (uint32_t i = 0; i < kCount; ++i) {
    requests.push_back(std::make_unique<gpt2::GenerateRequest>(
        *model, model->createSession(), 0, std::vector<uint32_t>{i / 2, 1}, greedy(4),
        [&drawn, i](gpt2::NewToken&& token) { drawn[i].push_back(token.token); }));
    requests.back()->begin();
    running.push_back(requests.back().get());
  }
  CancelFlag cancelled(false);
  model->device().threadPool().observe([&](const gpt2::Step& step, std::chrono::nanoseconds) {
    if (step.name() == "outputs") cancelled = true;
  });
  CHECK_ERROR(code::kAborted, gpt2::evaluate(*model, running, &cancelled));
  model->device().threadPool().observe({});
  for (size_t i = 0; i < kCount; ++i) CHECK_EQUAL(drawn[i].size(), i < 64 ? 1U : 0U);
  while (!running.empty()) {
    gpt2::evaluate(*model, running, nullptr);
    running.erase(
        std::remove_if(running.begin(), running.end(),
                       [](const gpt2::Request* request) { return request->isFinished(); }),
        running.end());
  }
  for (uint32_t i = 0; i < kCount; ++i) {
    CHECK(drawn[i] == generate(model, *model->createSession(), 0, {i / 2, 1}, greedy(4)).tokens);
  }
}

TEST(aGenerationIsCancelledBetweenTokens) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}, 3).file());
  const std::vector<uint32_t> prompt = randomTokens(20, kVocabulary, 18);
  const std::vector<uint32_t> expected =
      generate(model, *model->createSession(), 0, prompt, greedy(50)).tokens;

  CancelFlag cancelled(false);
  std::vector<uint32_t> heard;
  const auto session = model->createSession();
  CHECK_ERROR(code::kAborted, generate(
                                  *model, *session, 0, prompt, greedy(50),
                                  [&](gpt2::NewToken&& token) {
                                    heard.push_back(token.token);
                                    cancelled = heard.size() == 10;
                                  },
                                  &cancelled));
  CHECK_EQUAL(heard.size(), 10U);
  CHECK_EQUAL(session->length(), 30);
  const Generated rest = generate(model, *session, 30, {}, greedy(40));
  heard.insert(heard.end(), rest.tokens.begin(), rest.tokens.end());
  CHECK(heard == expected);
}
