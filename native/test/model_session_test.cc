// The state that sessions keep between calls. A rejected call leaves it unchanged.

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "session_checks.h"

using gpt2::ModelOptions;
using gpt2::Session;
using gpt2::test::checkSame;
using gpt2::test::cpuOptions;
using gpt2::test::generate;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::rowOf;
using gpt2::test::slice;
namespace code = gpt2::code;

TEST(oneTokenAtATimeEqualsTheWholePrompt) {
  LoadedModel model(ReferenceModel({kVocabulary, 300, 24, 8, 2}).file());
  const std::vector<uint32_t> tokens = randomTokens(300, kVocabulary, 1);
  const std::vector<float> expected = model.evaluateAll(tokens);
  const auto session = model->createSession();
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::vector<float> row =
        model.evaluateLast(*session, static_cast<int64_t>(i), {tokens[i]});
    checkSame(row, rowOf(expected, i));
    CHECK_EQUAL(session->length(), static_cast<int64_t>(i) + 1);
    CHECK_EQUAL(session->evaluated(), static_cast<int64_t>(i) + 1);
  }
  CHECK(session->tokens() == tokens);
}

TEST(chunksOfAnyLengthEqualTheWholePrompt) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}).file());
  const std::vector<uint32_t> tokens = randomTokens(400, kVocabulary, 2);
  const std::vector<float> expected = model.evaluateAll(tokens);
  const auto session = model->createSession();
  size_t done = 0;
  for (const size_t length : {1U, 31U, 32U, 33U, 3U, 280U, 20U}) {
    const std::vector<float> logits =
        model.evaluateAll(*session, static_cast<int64_t>(done), slice(tokens, done, done + length));
    for (size_t row = 0; row < length; ++row) {
      checkSame(rowOf(logits, row), rowOf(expected, done + row));
    }
    done += length;
  }
  CHECK_EQUAL(done, tokens.size());
}

TEST(aSessionRewinds) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}).file());
  const std::vector<uint32_t> first = randomTokens(90, kVocabulary, 3);
  const auto session = model->createSession();
  model.evaluateAll(*session, 0, first);
  for (const size_t keep : {80U, 33U, 32U, 31U, 1U, 0U}) {
    std::vector<uint32_t> whole = slice(first, 0, keep);
    const std::vector<uint32_t> rest = randomTokens(15, kVocabulary, 100 + keep);
    whole.insert(whole.end(), rest.begin(), rest.end());
    const std::vector<float> logits = model.evaluateAll(*session, static_cast<int64_t>(keep), rest);
    const std::vector<float> expected = model.evaluateAll(whole);
    for (size_t row = 0; row < rest.size(); ++row) {
      checkSame(rowOf(logits, row), rowOf(expected, keep + row));
    }
    CHECK(session->tokens() == whole);
  }
}

TEST(copiesAreIndependent) {
  LoadedModel model(ReferenceModel({kVocabulary, 200, 24, 8, 2}).file());
  const std::vector<uint32_t> common = randomTokens(70, kVocabulary, 4);
  const auto original = model->createSession();
  model.evaluateAll(*original, 0, common);
  const auto copy = model->createSession();
  model.evaluateAll(*copy, 0, randomTokens(130, kVocabulary, 5));  // to be replaced
  copy->copyFrom(*original);
  CHECK(copy->tokens() == common);
  CHECK_EQUAL(copy->evaluated(), 70);

  const std::pair<Session*, uint64_t> ways[] = {{copy.get(), 6}, {original.get(), 7}};
  for (const auto& [session, seed] : ways) {
    const std::vector<uint32_t> rest = randomTokens(40, kVocabulary, seed);
    std::vector<uint32_t> whole = common;
    whole.insert(whole.end(), rest.begin(), rest.end());
    checkSame(model.evaluateLast(*session, 70, rest),
              model.evaluateLast(*model->createSession(), 0, whole));
  }
}

TEST(copiesOfEveryKindOfSession) {
  LoadedModel model(ReferenceModel({kVocabulary, 200, 24, 8, 2}).file());
  const auto empty = model->createSession();
  const auto used = model->createSession();
  model.evaluateAll(*used, 0, {1, 2, 3});
  used->copyFrom(*empty);
  CHECK_EQUAL(used->length(), 0);
  checkSame(model.evaluateLast(*used, 0, {4, 5}),
            model.evaluateLast(*model->createSession(), 0, {4, 5}));

  // The last token of a generation has not been evaluated yet.
  const auto generated = model->createSession();
  generate(model, *generated, 0, {1, 2, 3}, greedy(5));
  CHECK_EQUAL(generated->length(), 8);
  CHECK_EQUAL(generated->evaluated(), 7);
  const auto copy = model->createSession();
  copy->copyFrom(*generated);
  CHECK_EQUAL(copy->evaluated(), 7);
  std::vector<uint32_t> whole = generated->tokens();
  whole.push_back(9);
  checkSame(model.evaluateLast(*copy, 8, {9}),
            model.evaluateLast(*model->createSession(), 0, whole));
}

TEST(sessionsAreIndependent) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}).file());
  const std::vector<uint32_t> a = randomTokens(60, kVocabulary, 8);
  const std::vector<uint32_t> b = randomTokens(60, kVocabulary, 9);
  const std::vector<float> expectedA = model.evaluateAll(a);
  const std::vector<float> expectedB = model.evaluateAll(b);
  const auto first = model->createSession();
  const auto second = model->createSession();
  for (size_t i = 0; i < 60; ++i) {
    const auto keep = static_cast<int64_t>(i);
    checkSame(model.evaluateLast(*first, keep, {a[i]}), rowOf(expectedA, i));
    checkSame(model.evaluateLast(*second, keep, {b[i]}), rowOf(expectedB, i));
  }
}

TEST(rejectedCallsLeaveTheSessionUnchanged) {
  LoadedModel model(ReferenceModel({kVocabulary, 40, 24, 8, 2}).file());
  const std::vector<uint32_t> tokens = randomTokens(30, kVocabulary, 14);
  const auto session = model->createSession();
  model.evaluateAll(*session, 0, tokens);
  const auto checkUnchanged = [&] {
    CHECK(session->tokens() == tokens);
    CHECK_EQUAL(session->evaluated(), 30);
  };
  const std::function<void(int64_t, std::vector<uint32_t>, std::vector<int64_t>, const char*)>
      expectRejected = [&](int64_t keep, const std::vector<uint32_t>& more,
                           const std::vector<int64_t>& positions, const char* code) {
        CHECK_ERROR(code, model.evaluate(*session, keep, more, positions));
        checkUnchanged();
      };
  constexpr uint32_t kTokenCount = kVocabulary;
  expectRejected(30, {1, kTokenCount}, {0}, code::kTokenOutOfRange);
  expectRejected(0, {0xffffffff}, {0}, code::kTokenOutOfRange);
  expectRejected(30, std::vector<uint32_t>(11, 1), {0}, code::kContextOverflow);
  expectRejected(0, std::vector<uint32_t>(41, 1), {0}, code::kContextOverflow);
  expectRejected(30, {}, {}, code::kInvalidArgument);
  expectRejected(30, {1, 2}, {2}, code::kInvalidArgument);
  expectRejected(30, {1, 2}, {0, -1}, code::kInvalidArgument);
  expectRejected(30, {1, 2}, {std::numeric_limits<int64_t>::max()}, code::kInvalidArgument);
  expectRejected(30, {1, 2}, {std::numeric_limits<int64_t>::min()}, code::kInvalidArgument);
  expectRejected(31, {1}, {0}, code::kInternal);
  expectRejected(-1, {1}, {0}, code::kInternal);
  CHECK_ERROR(code::kTokenOutOfRange, generate(model, *session, 30, {kTokenCount}, greedy(1)));
  CHECK_ERROR(code::kContextOverflow,
              generate(model, *session, 30, std::vector<uint32_t>(11, 1), greedy(1)));
  checkUnchanged();

  const std::vector<uint32_t> rest(10, 2);
  std::vector<uint32_t> whole = tokens;
  whole.insert(whole.end(), rest.begin(), rest.end());
  checkSame(model.evaluateLast(*session, 30, rest),
            model.evaluateLast(*model->createSession(), 0, whole));
}

TEST(aContextLengthAboveTheModelsIsRejected) {
  const ReferenceModel reference({});
  for (const int64_t length : {int64_t{49}, int64_t{1} << 40}) {
    ModelOptions options = cpuOptions();
    options.contextLength = length;
    CHECK_ERROR(code::kInvalidArgument, LoadedModel(reference.file(), options));
  }
  ModelOptions options = cpuOptions();
  options.contextLength = 48;
  CHECK_EQUAL(LoadedModel(reference.file(), options)->contextLength(), 48);
  options.contextLength = 10;
  LoadedModel model(reference.file(), options);
  const auto session = model->createSession();
  CHECK_ERROR(code::kContextOverflow, model.evaluateAll(*session, 0, randomTokens(11, 61, 1)));
  CHECK_EQUAL(model.evaluateAll(*session, 0, randomTokens(10, 61, 1)).size(), 610U);
}

TEST(anUnavailableDeviceIsRejected) {
  const std::string file = ReferenceModel(ReferenceShape{}).file();
  for (const char* name : {"quantum", "", "CPU"}) {
    ModelOptions options = cpuOptions();
    options.device = name;
    CHECK_ERROR(code::kDeviceUnavailable, LoadedModel(file, options));
  }
  CHECK_EQUAL(gpt2::Device::available().front(), "cpu");
  CHECK_EQUAL(LoadedModel(file)->device().name(), "cpu");
}
