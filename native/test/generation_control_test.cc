// What ends a generation, what is handed out, and the host's part in it.

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "service.h"
#include "stages.h"

using gpt2::FinishReason;
using gpt2::GenerateOptions;
using gpt2::GenerateRequest;
using gpt2::HostReply;
using gpt2::HostStep;
using gpt2::NewToken;
using gpt2::Overflow;
using gpt2::Session;
using gpt2::StageOptions;
using gpt2::test::checkSame;
using gpt2::test::generate;
using gpt2::test::Generated;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::Service;
using gpt2::test::stage;
namespace code = gpt2::code;

namespace {

constexpr uint32_t kEnd = 60;

// Tokens 0 to 25 are the letters, 26 to 51 the letters twice; then come pairs, and the end of a
// text.
std::vector<std::string> vocabulary() {
  std::vector<std::string> tokens;
  for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(1, letter);
  for (char letter = 'a'; letter <= 'z'; ++letter) tokens.emplace_back(2, letter);
  for (const char* pair : {"ab", "bc", "cd", "abc", "xyz", "yz", "zx", "th"}) {
    tokens.emplace_back(pair);
  }
  tokens.emplace_back("<end>");
  return tokens;
}

std::string fileWithVocabulary(size_t context = 64) {
  const ReferenceModel reference({kVocabulary, context, 24, 8, 2}, 3);
  gpt2::test::GgufBuilder builder = reference.metadata();
  builder.strings("tokenizer.ggml.tokens", vocabulary());
  builder.number("tokenizer.ggml.eos_token_id", kEnd);
  return reference.addTensors(builder).bytes();
}

uint32_t idOf(const std::string& token) {
  const std::vector<std::string> tokens = vocabulary();
  return static_cast<uint32_t>(std::find(tokens.begin(), tokens.end(), token) - tokens.begin());
}

std::vector<uint32_t> idsOf(const std::vector<std::string>& tokens) {
  std::vector<uint32_t> ids;
  for (const std::string& token : tokens) ids.push_back(idOf(token));
  return ids;
}

// Options that generate these tokens.
GenerateOptions forcing(const std::vector<std::string>& tokens) {
  GenerateOptions options;
  options.maxTokens = static_cast<int64_t>(tokens.size());
  StageOptions forced = stage("forcedTokens", {});
  forced.sequences = {idsOf(tokens)};
  options.stages = {forced};
  return options;
}

std::vector<uint32_t> concatenated(std::vector<uint32_t> a, const std::vector<uint32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST(aStopStringEndsTheTextBeforeIt) {
  struct Example {
    std::vector<std::string> generated, stops, left;
    std::string found;
  };
  for (const Example& example :
       std::vector<Example>{{{"q", "ab", "cd", "e"}, {"bcd"}, {"q", "a"}, "bcd"},
                            {{"q", "abc", "th"}, {"abc"}, {"q"}, "abc"},
                            {{"abc", "th"}, {"a"}, {}, "a"},
                            {{"q", "xyz", "zx"}, {"zzx"}, {"q", "x", "y"}, "zzx"},
                            {{"q", "aa", "aa", "bc"}, {"aab"}, {"q", "aa"}, "aab"},
                            {{"th", "e"}, {"e", "he"}, {"t"}, "he"},
                            {{"th", "e"}, {"e", "x"}, {"th"}, "e"},
                            {{"th", "e"}, {"ex", "thx"}, {"th", "e"}, ""},
                            {{"a", "b", "b"}, {"abc"}, {"a", "b", "b"}, ""}}) {
    LoadedModel model(fileWithVocabulary());
    GenerateOptions options = forcing(example.generated);
    options.stopStrings = example.stops;
    const auto session = model->createSession();
    const Generated generated = generate(model, *session, 0, {1, 2}, options);
    CHECK(generated.tokens == idsOf(example.left));
    CHECK_EQUAL(generated.result.stopString, example.found);
    CHECK(generated.result.finishReason ==
          (example.found.empty() ? FinishReason::kLength : FinishReason::kStopString));
    // The session holds what was handed out, and goes on as a new one with these tokens does.
    CHECK(session->tokens() == concatenated({1, 2}, idsOf(example.left)));
    const std::vector<float> next = model.evaluateLast(*session, session->length(), {7});
    checkSame(next, model.evaluateLast(*model->createSession(), 0, session->tokens()));
  }
}

TEST(nothingIsEvaluatedAfterAStopString) {
  LoadedModel model(fileWithVocabulary());
  GenerateOptions options = forcing({"q", "ab", "cd", "e", "f"});
  options.stopStrings = {"cd"};
  const auto session = model->createSession();
  generate(model, *session, 0, {1, 2}, options);
  CHECK_EQUAL(session->length(), 4);
  CHECK_EQUAL(session->evaluated(), 4);  // the prompt, "q" and "ab", after which "cd" was sampled
}

TEST(tokensThatMayBeginAStopStringAreHeldBack) {
  LoadedModel model(fileWithVocabulary());
  const std::vector<std::string> tokens{"x", "yz", "x", "ab", "xyz", "q"};
  GenerateOptions options = forcing(tokens);
  options.stopStrings = {"xyzxz", "bxyzz"};
  std::vector<std::vector<uint32_t>> seen;  // by the number of tokens in the session
  const auto session = model->createSession();
  std::vector<size_t> lengths;
  gpt2::test::generate(*model, *session, 0, {1, 2}, options, [&](NewToken&&) {
    lengths.push_back(static_cast<size_t>(session->length()) - 2);
  });
  // "x", "yz", "x" may begin xyzxz until "ab" comes; that may begin bxyzz until "q" comes.
  CHECK((lengths == std::vector<size_t>{4, 4, 4, 6, 6, 6}));
}

TEST(stopTokensAndEndOfTextEndTheText) {
  LoadedModel model(fileWithVocabulary());
  GenerateOptions options = forcing({"q", "th", "<end>", "e"});
  Generated generated = generate(model, *model->createSession(), 0, {1}, options);
  CHECK(generated.result.finishReason == FinishReason::kEndOfText);
  CHECK(generated.tokens == idsOf({"q", "th"}));

  options.stopTokens = {idOf("th"), idOf("e")};
  generated = generate(model, *model->createSession(), 0, {1}, options);
  CHECK(generated.result.finishReason == FinishReason::kStopToken);
  CHECK_EQUAL(generated.result.stopToken, idOf("th"));
  CHECK(generated.tokens == idsOf({"q"}));

  options.stopTokens = {};
  options.ignoresEndOfText = true;
  generated = generate(model, *model->createSession(), 0, {1}, options);
  CHECK(generated.result.finishReason == FinishReason::kLength);
  CHECK(generated.tokens == idsOf({"q", "th", "<end>", "e"}));
}

TEST(stopStringsAreLookedForAfterTheMinimum) {
  LoadedModel model(fileWithVocabulary());
  GenerateOptions options = forcing({"q", "e", "q", "e", "e"});
  options.stopStrings = {"e", "eq"};
  options.minTokens = 3;
  const Generated generated = generate(model, *model->createSession(), 0, {1}, options);
  CHECK(generated.tokens == idsOf({"q", "e", "q"}));
}

TEST(badWordsAreNeverCompleted) {
  LoadedModel model(fileWithVocabulary(400));
  StageOptions bad = stage("badWords", {});
  bad.texts = {"a", "yz", "bx"};
  bad.sequences = {{idOf("q")}, {idOf("c"), idOf("d")}};
  GenerateOptions options;
  options.maxTokens = 300;
  options.ignoresEndOfText = true;
  options.stages = {bad, stage("temperature", {{"temperature", 3}})};
  for (const uint64_t seed : {1U, 2U, 3U}) {
    options.seed = seed;
    const Generated generated = generate(model, *model->createSession(), 0, {1}, options);
    std::string text;
    for (size_t i = 0; i < generated.tokens.size(); ++i) {
      const uint32_t token = generated.tokens[i];
      text += vocabulary()[token];
      CHECK(token != idOf("q"));
      CHECK(i == 0 || generated.tokens[i - 1] != idOf("c") || token != idOf("d"));
    }
    for (const std::string& string : bad.texts) CHECK(text.find(string) == std::string::npos);
    CHECK(text.find('y') != std::string::npos);
  }
}

TEST(textsNeedAVocabulary) {
  LoadedModel model(ReferenceModel({kVocabulary, 64, 24, 8, 1}).file());
  GenerateOptions options = greedy(3);
  options.stopStrings = {"a"};
  CHECK_ERROR(code::kTokenizerMissing, generate(model, *model->createSession(), 0, {1}, options));
}

TEST(logProbabilitiesAreThoseOfTheSoftmax) {
  LoadedModel model(fileWithVocabulary());
  GenerateOptions options;
  options.maxTokens = 20;
  options.seed = 4;
  options.topLogprobs = 3;
  options.stages = {stage("temperature", {{"temperature", 0.5}}), stage("topK", {{"k", 2}})};
  for (const bool ofSampler : {false, true}) {
    options.logprobsAreOfSampler = ofSampler;
    std::vector<NewToken> drawn;
    const auto session = model->createSession();
    gpt2::test::generate(*model, *session, 0, {1, 2}, options,
                         [&](NewToken&& token) { drawn.push_back(std::move(token)); });
    const std::vector<float> logits = model.evaluateAll(session->tokens());
    for (size_t i = 0; i < drawn.size(); ++i) {
      std::vector<std::pair<double, uint32_t>> ranked;  // by −logit
      for (uint32_t token = 0; token < kVocabulary; ++token) {
        ranked.emplace_back(-logits[(i + 1) * kVocabulary + token], token);
      }
      std::sort(ranked.begin(), ranked.end());
      if (ofSampler) {
        ranked.resize(2);
        for (auto& each : ranked) each.first *= 2;
      }
      double sum = 0;
      for (const auto& each : ranked) sum += std::exp(-each.first);
      const gpt2::LogProbabilities& logprobs = drawn[i].logprobs;
      CHECK_EQUAL(logprobs.topTokens.size(), 3U);
      for (size_t j = 0; j < ranked.size(); ++j) {
        const double expected = -ranked[j].first - std::log(sum);
        if (j < 3) {
          CHECK_EQUAL(logprobs.topTokens[j], ranked[j].second);
          CHECK_NEAR(logprobs.topLogprobs[j], expected, 2e-6);
        }
        if (ranked[j].second == drawn[i].token) CHECK_NEAR(logprobs.token, expected, 2e-6);
      }
      if (ofSampler) CHECK(std::isinf(logprobs.topLogprobs[2]));
    }
  }
}

TEST(aTextMaySlideOverTheContext) {
  constexpr size_t kContext = 12;
  LoadedModel model(fileWithVocabulary(kContext));
  GenerateOptions options = greedy(40);
  options.ignoresEndOfText = true;
  options.overflow = Overflow::kSlide;
  const auto session = model->createSession();
  const Generated generated = generate(model, *session, 0, {1, 2, 3}, options);
  CHECK_EQUAL(generated.tokens.size(), 40U);

  // When the context is full, its last half is evaluated anew.
  std::vector<uint32_t> window{1, 2, 3};
  size_t dropped = 0;
  for (const uint32_t token : generated.tokens) {
    if (window.size() == kContext) {
      window.erase(window.begin(), window.begin() + kContext / 2);
      dropped += kContext / 2;
    }
    const std::vector<float> logits = model.evaluateLast(*model->createSession(), 0, window);
    CHECK_EQUAL(token, static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) -
                                             logits.begin()));
    window.push_back(token);
  }
  CHECK(session->tokens() == window);
  CHECK_EQUAL(generated.result.droppedTokens, static_cast<int64_t>(dropped));

  options.overflow = Overflow::kStop;
  CHECK_EQUAL(generate(model, *model->createSession(), 0, {1, 2, 3}, options).tokens.size(), 9U);
  options.overflow = Overflow::kError;
  CHECK_ERROR(code::kContextOverflow,
              generate(model, *model->createSession(), 0, {1, 2, 3}, options));
}

TEST(aTimeBudgetEndsTheText) {
  LoadedModel model(fileWithVocabulary(400));
  GenerateOptions options = greedy(300);
  options.ignoresEndOfText = true;
  options.timeBudgetMilliseconds = 0;
  const Generated generated = generate(model, *model->createSession(), 0, {1}, options);
  CHECK(generated.result.finishReason == FinishReason::kTime);
  CHECK_EQUAL(generated.tokens.size(), 1U);
}

// The host replies at its leisure; other requests go on meanwhile.
TEST(aRequestWaitsForTheHostAlone) {
  Service service(fileWithVocabulary());
  GenerateOptions options = greedy(6);
  options.ignoresEndOfText = true;
  const auto expected = service.generate(service.newSession(), 0, {1, 2}, options);
  expected->wait();

  options.hostStep = HostStep::kChangesLogits;
  const std::shared_ptr<Session> session = service.newSession();
  std::vector<std::optional<uint32_t>> asked;
  std::promise<void> isAsked;
  const auto call = service.generate(
      session, 0, {1, 2}, options, [](Service::Call&) {},
      [&](std::optional<uint32_t> last, const GenerateRequest::Logits& logits) {
        asked.push_back(last);
        if (asked.size() == 1) return isAsked.set_value();
        service.scheduler().resume(session, {false, *logits});
      });
  isAsked.get_future().wait();
  options.hostStep = HostStep::kNone;
  const auto other = service.generate(service.newSession(), 0, {1, 2}, options);
  other->wait();
  CHECK(other->drawn == expected->drawn);
  CHECK(call->drawn.empty());

  // Rules out the likeliest token.
  std::vector<float> logits(kVocabulary, 0);
  logits[5] = 1;
  service.scheduler().resume(session, {false, logits});
  call->wait();
  CHECK_EQUAL(call->drawn.size(), 6U);
  CHECK_EQUAL(call->drawn[0], 5U);
  for (size_t i = 1; i < asked.size(); ++i) CHECK_EQUAL(*asked[i], call->drawn[i - 1]);
  CHECK(!asked[0]);
}

TEST(theHostEndsATextWithoutWhatIsHeldBack) {
  Service service(fileWithVocabulary());
  GenerateOptions options = forcing({"q", "a", "b", "e"});
  options.stopStrings = {"abc"};
  options.hostStep = HostStep::kConfirms;
  const std::shared_ptr<Session> session = service.newSession();
  int steps = 0;
  const auto call = service.generate(
      session, 0, {1, 2}, options, [](Service::Call&) {},
      [&](std::optional<uint32_t>, const GenerateRequest::Logits& logits) {
        CHECK(!logits);
        service.scheduler().resume(session, {++steps == 4, {}});
      });
  call->wait();
  CHECK(call->generation.finishReason == FinishReason::kHost);
  CHECK(call->drawn == idsOf({"q"}));
  CHECK(session->tokens() == concatenated({1, 2}, idsOf({"q"})));
}

TEST(aWaitingRequestCanBeCancelledAndItsModelDisposed) {
  for (const bool disposes : {false, true}) {
    Service::CallPtr call;
    {
      Service service(fileWithVocabulary());
      GenerateOptions options = greedy(5);
      options.hostStep = HostStep::kConfirms;
      const std::shared_ptr<Session> session = service.newSession();
      std::promise<void> isAsked;
      call = service.generate(
          session, 0, {1}, options, [](Service::Call&) {},
          [&](std::optional<uint32_t>, const GenerateRequest::Logits&) { isAsked.set_value(); });
      isAsked.get_future().wait();
      if (!disposes) {
        *call->cancelled = true;
        service.scheduler().resume(session, {});
        call->wait();
        const auto next = service.generate(session, 0, {1}, greedy(2));
        next->wait();
        CHECK_EQUAL(next->drawn.size(), 2U);
      }
    }
    if (disposes) call->wait();
    CHECK_EQUAL(call->failure, code::kAborted);
  }
}
