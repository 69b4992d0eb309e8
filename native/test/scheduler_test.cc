// Concurrent requests share passes, return the same results as alone, and do not affect each other.

#include "serving/scheduler.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "service.h"
#include "session_checks.h"

using gpt2::CancelFlag;
using gpt2::ModelOptions;
using gpt2::OperatorSet;
using gpt2::test::cpuOptions;
using gpt2::test::fileOf;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::Passes;
using gpt2::test::randomTokens;
using gpt2::test::reference;
using gpt2::test::ReferenceModel;
using gpt2::test::Service;
namespace code = gpt2::code;

namespace {

gpt2::GenerateOptions drawing(int64_t maxTokens, uint64_t seed) {
  gpt2::GenerateOptions options;
  options.maxTokens = maxTokens;
  options.seed = seed;
  return options;
}

}  // namespace

// To the bit: tokens sampled from one seed, and logits.
TEST(concurrentRequestsReturnTheSameBitsAsAlone) {
  for (const OperatorSet operators : {OperatorSet::kFused, OperatorSet::kStock}) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
      ModelOptions options = cpuOptions(operators == OperatorSet::kFused ? 2 : 1);
      options.operators = operators;
      Service service(fileOf(type), options);
      constexpr size_t kCount = 9;
      const auto start = [&](size_t i) {
        // Prompts from one token to more than one pass. Of the evaluations, one is decoding and one
        // has a token too many.
        const size_t length = i == 2 ? 8 : i == 5 ? 9 : 1 + i * i * 4;
        const std::vector<uint32_t> prompt = randomTokens(length, kVocabulary, i);
        return i % 3 == 2 ? service.evaluate(service.newSession(), 0, prompt, {0, 2, 3})
                          : service.generate(service.newSession(), 0, prompt, drawing(30, i));
      };
      std::vector<Service::CallPtr> alone;
      for (size_t i = 0; i < kCount; ++i) {
        alone.push_back(start(i));
        alone.back()->wait();
      }
      std::promise<void> go = service.hold();
      std::vector<Service::CallPtr> together;
      for (size_t i = 0; i < kCount; ++i) together.push_back(start(i));
      go.set_value();
      for (size_t i = 0; i < kCount; ++i) {
        together[i]->wait();
        CHECK_EQUAL(together[i]->failure, std::string());
        CHECK(together[i]->drawn == alone[i]->drawn);
        CHECK(together[i]->logits == alone[i]->logits);
        CHECK(!alone[i]->drawn.empty() || !alone[i]->logits.empty());
      }
    }
  }
}

TEST(runsMoreTokensThanFitOnePass) {
  Service service(fileOf(GGML_TYPE_F32));
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (uint64_t i = 0; i < 70; ++i) {
    calls.push_back(
        service.evaluate(service.newSession(), 0, randomTokens(4, kVocabulary, i), {3}));
  }
  go.set_value();
  for (uint64_t i = 0; i < 70; ++i) {
    calls[i]->wait();
    const auto alone =
        service.evaluate(service.newSession(), 0, randomTokens(4, kVocabulary, i), {3});
    alone->wait();
    CHECK(calls[i]->logits == alone->logits);
  }
}

// More generations than fit one pass: none starves.
TEST(manyGenerationsTakeTurns) {
  Service service(fileOf(GGML_TYPE_F32));
  constexpr size_t kCount = 300;
  constexpr size_t kTokens = 3;
  std::vector<size_t> order;  // the number of tokens of the call that receives one
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (size_t i = 0; i < kCount; ++i) {
    calls.push_back(service.generate(
        service.newSession(), 0, {static_cast<uint32_t>(i % kVocabulary)}, greedy(kTokens),
        [&](Service::Call& call) { order.push_back(call.drawn.size()); }));
  }
  go.set_value();
  for (const auto& call : calls) call->wait();
  CHECK_EQUAL(order.size(), kCount * kTokens);
  const auto firstThird = std::find(order.begin(), order.end(), kTokens);
  CHECK_EQUAL(std::count(order.begin(), firstThird, 1U), static_cast<std::ptrdiff_t>(kCount));
}

TEST(promptsShareAPassUntilItIsFull) {
  Service service(fileOf(GGML_TYPE_F32));
  const Passes passes(service.model());
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  // 21 × 12 tokens fit 256; of the next prompt, the last eight tokens are in the second pass.
  for (uint64_t i = 0; i < 22; ++i) {
    calls.push_back(
        service.evaluate(service.newSession(), 0, randomTokens(12, kVocabulary, i), {11}));
  }
  go.set_value();
  for (const auto& call : calls) call->wait();
  CHECK_EQUAL(passes.count(), 2U);
}

// 64 tokens of each pass are for prompts, however many requests are decoding.
TEST(decodingRequestsDoNotStarveAPrompt) {
  Service service(fileOf(GGML_TYPE_F32));
  const Passes passes(service.model());
  size_t atPrompt = 0;
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (size_t i = 0; i < 300; ++i) {
    calls.push_back(service.generate(service.newSession(), 0, {1}, greedy(12)));
  }
  calls.push_back(service.generate(service.newSession(), 0, randomTokens(200, kVocabulary, 1),
                                   greedy(1), [&](Service::Call&) { atPrompt = passes.count(); }));
  go.set_value();
  for (const auto& call : calls) call->wait();
  CHECK_EQUAL(atPrompt, 4U);  // 64 + 64 + 64 + 8 tokens
  CHECK(passes.count() > 2 * atPrompt);
}

TEST(longPromptsDoNotHoldUpAGeneration) {
  Service service(fileOf(GGML_TYPE_F32));
  const Passes passes(service.model());
  std::vector<size_t> atTokens;
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls;
  for (uint64_t i = 0; i < 6; ++i) {
    calls.push_back(
        service.evaluate(service.newSession(), 0, randomTokens(390, kVocabulary, i), {389}));
  }
  calls.push_back(service.generate(service.newSession(), 0, {1}, greedy(8),
                                   [&](Service::Call&) { atTokens.push_back(passes.count()); }));
  go.set_value();
  for (const auto& call : calls) call->wait();
  CHECK(atTokens == (std::vector<size_t>{1, 2, 3, 4, 5, 6, 7, 8}));
  CHECK(passes.count() >= 10);  // 6 × 390 tokens
}

// Generations that begin together receive one token each per pass.
TEST(generationsAdvanceTogether) {
  Service service(fileOf(GGML_TYPE_F32));
  std::vector<size_t> order;
  std::promise<void> go = service.hold();
  std::vector<Service::CallPtr> calls(3);
  for (size_t i = 0; i < calls.size(); ++i) {
    calls[i] = service.generate(service.newSession(), 0, {1, 2}, greedy(5),
                                [&order, i](Service::Call&) { order.push_back(i); });
  }
  go.set_value();
  for (const auto& call : calls) call->wait();
  CHECK(order == (std::vector<size_t>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

// A request with a few tokens waits for at most one pass of a long prompt.
TEST(aShortRequestDoesNotWaitForALongOne) {
  Service service(fileOf(GGML_TYPE_F32));
  std::mutex mutex;
  std::vector<std::string> order;
  std::promise<void> go = service.hold();
  const auto longCall =
      service.generate(service.newSession(), 0, randomTokens(390, kVocabulary, 1), greedy(1),
                       [&](Service::Call&) { order.emplace_back("long"); });
  const auto shortCall = service.generate(service.newSession(), 0, {1}, greedy(1),
                                          [&](Service::Call&) { order.emplace_back("short"); });
  go.set_value();
  longCall->wait();
  shortCall->wait();
  CHECK(order == (std::vector<std::string>{"short", "long"}));
}

TEST(aCancelledRequestLeavesTheOthersRunning) {
  Service service(fileOf(GGML_TYPE_F32));
  const auto expected = service.generate(service.newSession(), 0, {7}, greedy(30));
  expected->wait();
  std::promise<void> go = service.hold();
  const auto aborted =
      service.generate(service.newSession(), 0, {8}, greedy(30), [](Service::Call& call) {
        if (call.drawn.size() == 5) *call.cancelled = true;
      });
  const auto other = service.generate(service.newSession(), 0, {7}, greedy(30));
  go.set_value();
  aborted->wait();
  other->wait();
  CHECK_EQUAL(aborted->failure, std::string(code::kAborted));
  CHECK_EQUAL(aborted->drawn.size(), 5U);
  CHECK_EQUAL(other->failure, std::string());
  CHECK(other->drawn == expected->drawn);
}

// A request whose flag is set before its turn does not begin.
TEST(aRequestCancelledBeforeItsTurnDoesNothing) {
  Service service(fileOf(GGML_TYPE_F32));
  const auto session = service.newSession();
  std::promise<void> go = service.hold();
  const auto call = service.generate(session, 0, {8}, greedy(30));
  *call->cancelled = true;
  go.set_value();
  call->wait();
  CHECK_EQUAL(call->failure, std::string(code::kAborted));
  CHECK_EQUAL(session->length(), 0);
}

TEST(anErrorFailsOneRequestOnly) {
  ReferenceModel broken = reference();
  // At position 5 every logit is NaN.
  auto& positions = broken.tensor("position_embd.weight");
  positions.values[5 * positions.in] = std::nan("");
  broken.encode("position_embd.weight", GGML_TYPE_F32);
  Service service(broken.file());
  const auto expected = service.generate(service.newSession(), 0, {7}, greedy(3));
  expected->wait();
  std::promise<void> go = service.hold();
  const auto outOfRange = service.generate(service.newSession(), 0, {kVocabulary}, greedy(3));
  const auto notFinite = service.generate(service.newSession(), 0, {1, 2, 3, 4}, greedy(9));
  const auto fine = service.generate(service.newSession(), 0, {7}, greedy(3));
  go.set_value();
  outOfRange->wait();
  notFinite->wait();
  fine->wait();
  CHECK_EQUAL(outOfRange->failure, std::string(code::kTokenOutOfRange));
  CHECK_EQUAL(notFinite->failure, std::string(code::kNotFinite));
  CHECK_EQUAL(notFinite->drawn.size(), 2U);  // after the positions 3 and 4
  CHECK_EQUAL(fine->failure, std::string());
  CHECK(fine->drawn == expected->drawn);
}

// A caller does not wait for a cancelled request to end: its session can receive the next one at
// once.
TEST(aSessionTakesTheNextRequestAfterACancelledOne) {
  Service service(fileOf(GGML_TYPE_F32));
  const std::vector<uint32_t> prompt = randomTokens(40, kVocabulary, 3);
  const auto expected = service.generate(service.newSession(), 0, prompt, greedy(20));
  expected->wait();
  for (int others = 0; others < 2; ++others) {
    const auto session = service.newSession();
    std::promise<void> reached;
    const auto aborted =
        service.generate(session, 0, {1, 2, 3}, greedy(300), [&](Service::Call& call) {
          if (call.drawn.size() == 3) reached.set_value();
        });
    const auto other =
        others == 0 ? nullptr : service.generate(service.newSession(), 0, {9}, greedy(300));
    reached.get_future().wait();
    *aborted->cancelled = true;
    const auto next = service.generate(session, 0, prompt, greedy(20));
    next->wait();
    aborted->wait();
    CHECK_EQUAL(aborted->failure, std::string(code::kAborted));
    CHECK_EQUAL(next->failure, std::string());
    CHECK(next->drawn == expected->drawn);
    if (other) other->wait();
  }
}

TEST(rejectsTwoRequestsOnOneSession) {
  Service service(fileOf(GGML_TYPE_F32));
  const auto session = service.newSession();
  std::promise<void> go = service.hold();
  const auto first = service.generate(session, 0, {1, 2, 3}, greedy(20));
  const auto second = service.generate(session, 0, {4}, greedy(20));
  go.set_value();
  first->wait();
  second->wait();
  CHECK_EQUAL(first->failure, std::string());
  CHECK_EQUAL(first->drawn.size(), 20U);
  CHECK_EQUAL(second->failure, std::string(code::kInternal));
}

TEST(stoppingTheWorkerEndsAllRequests) {
  for (const size_t count : {1U, 5U}) {
    Service service(fileOf(GGML_TYPE_F32));
    std::promise<void> reached;
    std::vector<Service::CallPtr> calls;
    calls.push_back(
        service.generate(service.newSession(), 0, {1}, greedy(390), [&](Service::Call& call) {
          if (call.drawn.size() == 3) reached.set_value();
        }));
    for (size_t i = 1; i < count; ++i) {
      calls.push_back(service.generate(service.newSession(), 0, {1}, greedy(390)));
    }
    reached.get_future().wait();
    bool lastRan = false;
    service.worker().stop([&] { lastRan = true; });
    CHECK_ERROR(code::kDisposed, service.generate(service.newSession(), 0, {1}, greedy(1)));
    for (const auto& call : calls) {
      call->wait();
      CHECK(!call->failure.empty());
    }
    service.worker().join();
    CHECK(lastRan);
  }
}

// Several threads submit and cancel requests at once.
TEST(manyThreadsSubmitAtOnce) {
  Service service(fileOf(GGML_TYPE_F32));
  const auto expected = service.generate(service.newSession(), 0, {1, 2}, greedy(12));
  expected->wait();
  std::vector<std::thread> callers;
  std::vector<int> wrong(4);
  for (size_t caller = 0; caller < wrong.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (uint64_t round = 0; round < 25; ++round) {
        const auto call = service.generate(service.newSession(), 0, {1, 2}, greedy(12));
        const auto other = service.evaluate(service.newSession(), 0,
                                            randomTokens(1 + round * 3, kVocabulary, round), {0});
        if (round % 2 == caller % 2) *other->cancelled = true;
        call->wait();
        other->wait();
        if (call->drawn != expected->drawn) ++wrong[caller];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == std::vector<int>(4));
}
