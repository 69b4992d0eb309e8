// Generation: the sampled tokens and the reasons to stop.

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "session_checks.h"

using gpt2::FinishReason;
using gpt2::GenerateOptions;
using gpt2::ModelOptions;
using gpt2::test::checkSame;
using gpt2::test::cpuOptions;
using gpt2::test::generate;
using gpt2::test::Generated;
using gpt2::test::GgufBuilder;
using gpt2::test::greedy;
using gpt2::test::indexOfLargest;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::raw;
using gpt2::test::ReferenceModel;
using gpt2::test::slice;
namespace code = gpt2::code;

namespace {

// A file with an end-of-text token.
std::string withEndOfText(const ReferenceModel& reference, uint32_t id) {
  gpt2::test::GgufBuilder builder = reference.metadata();
  builder.number("tokenizer.ggml.eos_token_id", id);
  return reference.addTensors(builder).bytes();
}

}  // namespace

TEST(greedyGenerationPicksTheMostLikelyToken) {
  LoadedModel model(ReferenceModel({kVocabulary, 400, 24, 8, 2}, 3).file());
  const std::vector<uint32_t> prompt = randomTokens(270, kVocabulary, 10);
  const auto session = model->createSession();
  const Generated generated = generate(model, *session, 0, prompt, greedy(40));
  CHECK(generated.result.finishReason == FinishReason::kLength);
  CHECK_EQUAL(generated.result.promptTokens, 270);
  CHECK_EQUAL(generated.result.cachedTokens, 0);
  CHECK_EQUAL(generated.result.completionTokens, 40);
  CHECK(generated.result.promptMilliseconds > 0);
  CHECK(generated.result.firstTokenMilliseconds >= generated.result.promptMilliseconds);
  CHECK(generated.result.totalMilliseconds >= generated.result.firstTokenMilliseconds);

  const auto stepwise = model->createSession();
  std::vector<uint32_t> next = prompt;
  for (const uint32_t token : generated.tokens) {
    const std::vector<float> logits = model.evaluateLast(*stepwise, stepwise->length(), next);
    CHECK_EQUAL(token, indexOfLargest(logits.data(), logits.size()));
    next = {token};
  }
  std::vector<uint32_t> whole = prompt;
  whole.insert(whole.end(), generated.tokens.begin(), generated.tokens.end());
  CHECK(session->tokens() == whole);
}

TEST(generationContinuesWhereItStopped) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}, 3).file());
  const std::vector<uint32_t> prompt = randomTokens(20, kVocabulary, 11);
  const Generated expected = generate(model, *model->createSession(), 0, prompt, greedy(30));

  const auto session = model->createSession();
  Generated part = generate(model, *session, 0, prompt, greedy(12));
  std::vector<uint32_t> tokens = part.tokens;
  part = generate(model, *session, 32, {}, greedy(18));  // no prompt: all is kept
  CHECK_EQUAL(part.result.promptTokens, 32);
  CHECK_EQUAL(part.result.cachedTokens, 31);
  tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
  CHECK(tokens == expected.tokens);

  // Rewinds to the prompt. Its last token is evaluated again to obtain its logits.
  part = generate(model, *session, 20, {}, greedy(30));
  CHECK_EQUAL(part.result.promptTokens, 20);
  CHECK_EQUAL(part.result.cachedTokens, 19);
  CHECK(part.tokens == expected.tokens);
}

TEST(generationOfNoTokens) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}).file());
  const auto session = model->createSession();
  const Generated none = generate(model, *session, 0, {1, 2, 3}, greedy(0));
  CHECK(none.tokens.empty());
  CHECK(none.result.finishReason == FinishReason::kLength);
  CHECK_EQUAL(session->length(), 3);
  checkSame(model.evaluateLast(*session, 3, {4}),
            model.evaluateLast(*model->createSession(), 0, {1, 2, 3, 4}));
}

TEST(generationNeedsAToken) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}).file());
  const auto session = model->createSession();
  CHECK_ERROR(code::kInvalidArgument, generate(model, *session, 0, {}, greedy(5)));
  CHECK_EQUAL(generate(model, *session, 0, {1}, greedy(5)).tokens.size(), 5U);
}

TEST(generationStopsAtTheContextLength) {
  const ReferenceModel reference({kVocabulary, 40, 24, 8, 2});
  LoadedModel model(reference.file());
  const std::vector<uint32_t> prompt = randomTokens(35, kVocabulary, 12);
  const auto session = model->createSession();
  const Generated generated = generate(model, *session, 0, prompt, greedy(1000));
  CHECK_EQUAL(generated.tokens.size(), 5U);
  CHECK(generated.result.finishReason == FinishReason::kLength);
  CHECK_EQUAL(session->length(), 40);
  CHECK(generate(model, *session, 40, {}, greedy(5)).tokens.empty());
  CHECK_EQUAL(generate(model, *session, 39, {}, greedy(5)).tokens.size(), 1U);

  ModelOptions options = cpuOptions();
  options.contextLength = 37;
  LoadedModel shorter(reference.file(), options);
  CHECK_EQUAL(shorter->contextLength(), 37);
  const auto other = shorter->createSession();
  CHECK_EQUAL(generate(shorter, *other, 0, prompt, greedy(1000)).tokens.size(), 2U);
  CHECK_EQUAL(other->length(), 37);
}

TEST(generationStopsAtTheEndOfText) {
  const ReferenceModel reference({kVocabulary, 100, 24, 8, 2}, 3);
  LoadedModel unending(reference.file());
  CHECK(unending->endOfText().empty());
  const std::vector<uint32_t> prompt = randomTokens(20, kVocabulary, 13);
  const std::vector<uint32_t> tokens =
      generate(unending, *unending->createSession(), 0, prompt, greedy(30)).tokens;
  const uint32_t end = tokens[10];
  const size_t first =
      static_cast<size_t>(std::find(tokens.begin(), tokens.end(), end) - tokens.begin());
  CHECK(first > 0);

  LoadedModel ending(withEndOfText(reference, end));
  CHECK(ending->endOfText() == std::set<uint32_t>{end});
  const auto session = ending->createSession();
  const Generated generated = generate(ending, *session, 0, prompt, greedy(30));
  CHECK(generated.result.finishReason == FinishReason::kEndOfText);
  CHECK(generated.tokens == slice(tokens, 0, first));
  // The end-of-text token is not kept.
  CHECK_EQUAL(session->length(), static_cast<int64_t>(20 + first));
}

TEST(anEndOfTextOutsideTheVocabularyIsIgnored) {
  const ReferenceModel reference({});
  CHECK(LoadedModel(withEndOfText(reference, 60))->endOfText() == std::set<uint32_t>{60});
  CHECK(LoadedModel(withEndOfText(reference, 61))->endOfText().empty());
  CHECK(LoadedModel(withEndOfText(reference, 0xffffffff))->endOfText().empty());
}

TEST(everyEndOfTextThatTheFileNamesIsRead) {
  const ReferenceModel reference({});
  GgufBuilder builder = reference.metadata();
  builder.number("tokenizer.ggml.eos_token_id", 5U)
      .number("tokenizer.ggml.eot_token_id", 7U)
      .number("tokenizer.ggml.eom_token_id", 9U)
      .array("gpt2_native.end_of_text_ids", 5, 5, raw(std::vector<int32_t>{5, 60, 61, -1, 3}));
  LoadedModel model(reference.addTensors(builder).bytes());
  CHECK(model->endOfText() == (std::set<uint32_t>{3, 5, 7, 9, 60}));

  GgufBuilder malformed = reference.metadata();
  malformed.number("gpt2_native.end_of_text_ids", 5U);
  CHECK_ERROR(gpt2::code::kInvalidFile, LoadedModel(reference.addTensors(malformed).bytes()));
}

TEST(seedsDetermineTheSampledTokens) {
  LoadedModel model(ReferenceModel({kVocabulary, 100, 24, 8, 2}).file());
  std::vector<std::vector<uint32_t>> runs;
  for (const uint64_t seed : {1U, 1U, 2U}) {
    GenerateOptions options;
    options.maxTokens = 30;
    options.seed = seed;
    runs.push_back(generate(model, *model->createSession(), 0, {1, 2}, options).tokens);
  }
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] != runs[2]);
}

TEST(nanLogitsAreNotSampled) {
  ReferenceModel reference({kVocabulary, 40, 24, 8, 1});
  auto& positions = reference.tensor("position_embd.weight");
  positions.values[5 * positions.in] = std::nan("");
  reference.encode("position_embd.weight", GGML_TYPE_F32);
  LoadedModel model(reference.file());
  const auto session = model->createSession();
  std::vector<uint32_t> heard;
  CHECK_ERROR(code::kNotFinite,
              generate(
                  *model, *session, 0, {1, 2, 3}, greedy(20),
                  [&](gpt2::NewToken&& token) { heard.push_back(token.token); }, nullptr));
  CHECK_EQUAL(heard.size(), 3U);  // after the positions 2, 3 and 4
  CHECK_EQUAL(session->length(), 6);

  // NaN in the cache at that position must not affect earlier positions.
  checkSame(model.evaluateLast(*session, 3, {4}),
            model.evaluateLast(*model->createSession(), 0, {1, 2, 3, 4}));
}
