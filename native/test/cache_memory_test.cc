// Sequences share blocks of keys and values, within a budget, without a difference in any bit.

#include "model/cache_memory.h"

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "model/batch.h"
#include "service.h"
#include "session_checks.h"

using gpt2::BatchEntry;
using gpt2::KvBlock;
using gpt2::ModelOptions;
using gpt2::OperatorSet;
using gpt2::Output;
using gpt2::OutputKind;
using gpt2::Session;
using gpt2::test::checkSame;
using gpt2::test::cpuOptions;
using gpt2::test::fileOf;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::Passes;
using gpt2::test::randomTokens;
using gpt2::test::reference;
using gpt2::test::ReferenceModel;
using gpt2::test::Service;
using gpt2::test::slice;
namespace code = gpt2::code;

namespace {

// The options that a program gets, with room for this many blocks; 0: no limit.
ModelOptions sharing(size_t maxBlocks = 0) {
  ModelOptions options = cpuOptions(2);
  options.sharesPrefixes = true;
  constexpr size_t kBlockBytes = size_t{2} * 2 * KvBlock::kPositions * 32 * sizeof(float);
  if (maxBlocks > 0) options.cacheBytes = maxBlocks * kBlockBytes;
  return options;
}

std::vector<uint32_t> joined(std::vector<uint32_t> tokens, const std::vector<uint32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

int64_t blocksOf(gpt2::Model& model) { return model.cacheMemory().liveBlocks(); }

}  // namespace

TEST(aForkTakesNoMemoryUntilItChanges) {
  LoadedModel model(reference().file());
  const std::vector<uint32_t> common = randomTokens(200, kVocabulary, 1);
  const auto original = model->createSession();
  model.evaluateLast(*original, 0, common);
  CHECK_EQUAL(blocksOf(*model), 4);
  std::vector<std::unique_ptr<Session>> forks;
  for (int i = 0; i < 50; ++i) {
    forks.push_back(model->createSession());
    forks.back()->copyFrom(*original);
  }
  CHECK_EQUAL(blocksOf(*model), 4);
  // The last block has room for 56 more positions. Each of the two that write to it gets its own.
  checkSame(model.evaluateLast(*forks[0], 200, {7}),
            model.evaluateLast(*model->createSession(), 0, joined(common, {7})));
  CHECK_EQUAL(blocksOf(*model), 5);
  checkSame(model.evaluateLast(*forks[1], 150, {9}),
            model.evaluateLast(*model->createSession(), 0, joined(slice(common, 0, 150), {9})));
  CHECK_EQUAL(blocksOf(*model), 6);
  checkSame(model.evaluateLast(*original, 200, {8}),
            model.evaluateLast(*model->createSession(), 0, joined(common, {8})));
  CHECK_EQUAL(blocksOf(*model), 7);
  forks.clear();
  CHECK_EQUAL(blocksOf(*model), 4);
}

// A session of one set of operators goes on with the blocks that the other has written.
TEST(bothSetsOfOperatorsReadEachOthersBlocks) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16}) {
    ModelOptions options = cpuOptions();
    options.cacheType = type;
    LoadedModel fused(reference().file(), options);
    options.operators = OperatorSet::kStock;
    LoadedModel stock(reference().file(), options);
    const std::vector<uint32_t> common = randomTokens(150, kVocabulary, 2);
    const std::vector<uint32_t> rest = randomTokens(240, kVocabulary, 3);  // in five blocks
    const std::vector<std::vector<double>> expected = reference().logits(joined(common, rest));
    LoadedModel* models[] = {&fused, &stock};
    for (int writer = 0; writer < 2; ++writer) {
      LoadedModel& other = *models[1 - writer];
      const auto session = (*models[writer])->createSession();
      models[writer]->evaluateLast(*session, 0, common);
      const auto continued = other->createSession();
      continued->copyFrom(*session);
      CHECK_EQUAL(continued->evaluated(), 150);
      const std::vector<float> logits = other.evaluateLast(*continued, 150, rest);
      for (size_t i = 0; i < kVocabulary; ++i) {
        CHECK_NEAR(logits[i], expected.back()[i], type == GGML_TYPE_F32 ? 2e-5 : 2e-2);
      }
    }
  }
}

TEST(equalBeginningsAreEvaluatedOnce) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
    LoadedModel alone(fileOf(type));
    Service service(fileOf(type), sharing());
    const std::vector<uint32_t> common = randomTokens(130, kVocabulary, 4);
    const auto run = [&](const std::vector<uint32_t>& prompt, int64_t cachedTokens) {
      const auto call = service.generate(service.newSession(), 0, prompt, greedy(20));
      call->wait();
      CHECK_EQUAL(call->failure, std::string());
      CHECK_EQUAL(call->generation.cachedTokens, cachedTokens);
      CHECK_EQUAL(call->generation.promptTokens, static_cast<int64_t>(prompt.size()));
      const auto expected = generate(alone, *alone->createSession(), 0, prompt, greedy(20));
      CHECK(call->drawn == expected.tokens);
    };
    run(common, 0);
    run(joined(common, {1, 2, 3}), 128);  // the session before is gone: its blocks were kept
    run(joined(slice(common, 0, 100), {5}), 64);
    run(slice(common, 0, 128), 64);  // the last token has to be evaluated
    run(slice(common, 0, 129), 128);
    run(slice(common, 1, 130), 0);
    std::vector<uint32_t> changed = common;
    changed[63] = (changed[63] + 1) % kVocabulary;
    run(changed, 0);
    changed = common;
    changed[64] = (changed[64] + 1) % kVocabulary;
    run(changed, 64);
  }
}

// Logits at earlier positions are computed, although the keys and values are there.
TEST(outputsInTheBeginningAreComputed) {
  LoadedModel model(reference().file(), sharing());
  LoadedModel alone(reference().file());
  const std::vector<uint32_t> tokens = randomTokens(200, kVocabulary, 6);
  const std::vector<float> expected = alone.evaluateAll(tokens);
  for (int i = 0; i < 2; ++i) CHECK(model.evaluateAll(tokens) == expected);
  const auto session = model->createSession();
  const std::vector<float> rows = model.evaluate(*session, 0, tokens, {199, 70, 128});
  checkSame(gpt2::test::rowOf(rows, 0), gpt2::test::rowOf(expected, 199));
  checkSame(gpt2::test::rowOf(rows, 1), gpt2::test::rowOf(expected, 70));
  checkSame(gpt2::test::rowOf(rows, 2), gpt2::test::rowOf(expected, 128));
}

// Blocks that others may find are not written, by none of the ways back.
TEST(aRewoundSessionLeavesSharedBlocksAsTheyAre) {
  LoadedModel model(reference().file(), sharing());
  LoadedModel alone(reference().file());
  const std::vector<uint32_t> tokens = randomTokens(140, kVocabulary, 7);
  const auto session = model->createSession();
  model.evaluateLast(*session, 0, tokens);
  for (const size_t keep : {127U, 100U, 64U, 63U, 1U}) {
    const std::vector<uint32_t> whole = joined(slice(tokens, 0, keep), {3, 1});
    checkSame(model.evaluateLast(*session, static_cast<int64_t>(keep), {3, 1}),
              alone.evaluateLast(*alone->createSession(), 0, whole));
    checkSame(model.evaluateLast(*model->createSession(), 0, tokens),
              alone.evaluateLast(*alone->createSession(), 0, tokens));
    session->rewind(static_cast<int64_t>(keep));
  }
}

// Of prompts that are submitted together, one evaluates the common beginning.
TEST(promptsWaitForABeginningThatIsBeingEvaluated) {
  Service service(reference().file(), sharing());
  const Passes passes(service.model());
  const std::vector<uint32_t> common = randomTokens(256, kVocabulary, 8);
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (uint32_t i = 0; i < 20; ++i) {
    calls.push_back(service.generate(service.newSession(), 0, joined(common, {i, 1}), greedy(1)));
  }
  go.set_value();
  LoadedModel alone(reference().file());
  for (uint32_t i = 0; i < calls.size(); ++i) {
    calls[i]->wait();
    CHECK(calls[i]->drawn ==
          generate(alone, *alone->createSession(), 0, joined(common, {i, 1}), greedy(1)).tokens);
    CHECK_EQUAL(calls[i]->generation.cachedTokens, i == 0 ? 0 : 256);
  }
  CHECK_EQUAL(passes.count(), 2U);
}

// A prompt whose beginning another request was evaluating goes on alone if that one is cancelled.
TEST(aCancelledBeginningIsEvaluatedByTheNext) {
  Service service(reference().file(), sharing());
  const std::vector<uint32_t> common = randomTokens(300, kVocabulary, 9);
  std::promise<void> go = service.hold();
  const auto first = service.generate(service.newSession(), 0, common, greedy(5));
  const auto second = service.generate(service.newSession(), 0, common, greedy(5));
  *first->cancelled = true;
  go.set_value();
  first->wait();
  second->wait();
  CHECK_EQUAL(first->failure, std::string(code::kAborted));
  LoadedModel alone(reference().file());
  CHECK(second->drawn == generate(alone, *alone->createSession(), 0, common, greedy(5)).tokens);
}

TEST(keepsTheBlocksOfOneSequenceForLater) {
  LoadedModel model(reference().file(), sharing());
  for (uint64_t i = 0; i < 10; ++i) {
    model.evaluateLast(*model->createSession(), 0, randomTokens(390, kVocabulary, 10 + i));
    CHECK(blocksOf(*model) <= 7);  // 400 positions
  }
  CHECK_EQUAL(blocksOf(*model), 7);
}

// Queued prompts take memory when it is their turn, and wait for that of others.
TEST(requestsWaitForMemory) {
  Service service(reference().file(), sharing(12));
  int64_t most = 0;
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (uint64_t i = 0; i < 100; ++i) {
    calls.push_back(service.generate(
        service.newSession(), 0, randomTokens(150, kVocabulary, i), greedy(50),
        [&](Service::Call&) { most = std::max(most, blocksOf(service.model())); }));
  }
  go.set_value();
  for (const auto& call : calls) {
    call->wait();
    CHECK_EQUAL(call->failure, std::string());
    CHECK_EQUAL(call->drawn.size(), 50U);
  }
  CHECK_EQUAL(most, 12);
  LoadedModel alone(reference().file());
  CHECK(calls[70]->drawn ==
        generate(alone, *alone->createSession(), 0, randomTokens(150, kVocabulary, 70), greedy(50))
            .tokens);
}

// Idle sessions give their caches up, the longest idle first, and evaluate again.
TEST(idleSessionsMakeRoom) {
  LoadedModel alone(reference().file());
  Service service(reference().file(), sharing(8));
  std::vector<std::shared_ptr<Session>> sessions;
  for (uint64_t i = 0; i < 10; ++i) {
    sessions.push_back(service.newSession());
    const auto call = service.evaluate(sessions.back(), 0, randomTokens(100, kVocabulary, i), {99});
    call->wait();
    CHECK_EQUAL(call->failure, std::string());
    CHECK(blocksOf(service.model()) <= 8);
  }
  CHECK_EQUAL(sessions[0]->evaluated(), 0);
  CHECK_EQUAL(sessions[9]->evaluated(), 100);
  CHECK_EQUAL(sessions[8]->evaluated(), 100);
  for (uint64_t i = 0; i < 10; ++i) {
    const auto call = service.evaluate(sessions[i], 100, {5}, {0});
    call->wait();
    checkSame(call->logits, alone.evaluateLast(*alone->createSession(), 0,
                                               joined(randomTokens(100, kVocabulary, i), {5})));
  }
}

TEST(aRequestThatExceedsTheBudgetFailsAlone) {
  Service service(reference().file(), sharing(2));
  std::promise<void> go = service.hold();
  const auto large =
      service.evaluate(service.newSession(), 0, randomTokens(300, kVocabulary, 1), {299});
  const auto small = service.generate(service.newSession(), 0, {1, 2}, greedy(3));
  const auto growing =
      service.generate(service.newSession(), 0, randomTokens(100, kVocabulary, 2), greedy(300));
  const auto last = service.generate(service.newSession(), 0, {3, 4}, greedy(3));
  go.set_value();
  for (const auto& call : {large, small, growing, last}) call->wait();
  CHECK_EQUAL(large->failure, std::string(code::kOutOfMemory));
  CHECK_EQUAL(small->failure, std::string());
  CHECK_EQUAL(growing->failure, std::string(code::kOutOfMemory));
  CHECK_EQUAL(growing->drawn.size(), 29U);  // 2 × 64 positions, and the token after them
  CHECK_EQUAL(last->failure, std::string());
}

// A linear layer without bias over the final hidden states gives the logits.
// By both sets of operators, of which one belongs to GPUs; test/embed.test.ts compares with
// PyTorch.
TEST(residualsAreTheSameForBothOperatorSets) {
  const std::vector<uint32_t> tokens = randomTokens(90, kVocabulary, 11);
  std::vector<std::vector<float>> residuals;
  for (const auto operators : {gpt2::OperatorSet::kFused, gpt2::OperatorSet::kStock}) {
    gpt2::ModelOptions options = cpuOptions();
    options.operators = operators;
    LoadedModel loaded(reference().file(), options);
    for (const int64_t layers : {0, 1}) {
      const auto session = loaded->createSession();
      session->append(tokens);
      BatchEntry entry{session.get(), 90, {0, 50, 89}, OutputKind::kResidual, layers};
      loaded->cacheMemory().prepare(*session, 90);
      std::vector<float> rows(size_t{3} * 32);
      loaded->evaluate(
          {entry},
          [&](const Output& output) { std::copy_n(output.row, 32, &rows[output.index * 32]); },
          nullptr);
      residuals.push_back(rows);
    }
  }
  for (const size_t layers : {0U, 1U}) {
    const std::vector<float>& fused = residuals[layers];
    const std::vector<float>& stock = residuals[2 + layers];
    CHECK(fused != residuals[1 - layers]);
    for (size_t i = 0; i < fused.size(); ++i) CHECK_NEAR(fused[i], stock[i], 1e-5);
  }
}

TEST(hiddenStatesAreThoseOfTheHead) {
  const ReferenceModel& model = reference();
  LoadedModel loaded(model.file());
  const std::vector<uint32_t> tokens = randomTokens(90, kVocabulary, 11);
  const auto session = loaded->createSession();
  session->append(tokens);
  BatchEntry entry{session.get(), 90, {}, OutputKind::kHidden};
  for (int64_t i = 0; i < 90; ++i) entry.outputRows.push_back(i);
  loaded->cacheMemory().prepare(*session, 90);
  std::vector<float> hidden(90 * 32);
  loaded->evaluate(
      {entry},
      [&](const Output& output) { std::copy_n(output.row, 32, &hidden[output.index * 32]); },
      nullptr);
  const std::vector<std::vector<double>> expected = model.logits(tokens);
  const auto& embedding = model.tensors().at("token_embd.weight").values;
  for (size_t row = 0; row < 90; ++row) {
    for (size_t token = 0; token < kVocabulary; ++token) {
      double logit = 0;
      for (size_t i = 0; i < 32; ++i) {
        logit += double{hidden[row * 32 + i]} * static_cast<double>(embedding[token * 32 + i]);
      }
      CHECK_NEAR(logit, expected[row][token], 2e-5);
    }
  }
}
