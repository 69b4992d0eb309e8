// Sessions in files.

#include "model/session_file.h"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "random_numbers.h"
#include "session_checks.h"
#include "temporary_folder.h"

using gpt2::Checksum;
using gpt2::restoreSession;
using gpt2::saveSession;
using gpt2::Session;
using gpt2::test::checkSame;
using gpt2::test::cpuOptions;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::TemporaryFolder;
namespace code = gpt2::code;

namespace {

std::string modelFile(uint64_t seed = 3) {
  return ReferenceModel({kVocabulary, 200, 24, 8, 2}, seed).file();
}

std::string contentsOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST(aRestoredSessionGoesOnWithTheSameBits) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.session";
  for (const size_t count : {0U, 1U, 63U, 64U, 65U, 150U}) {
    LoadedModel model(modelFile());
    const auto session = model->createSession();
    const std::vector<uint32_t> tokens = randomTokens(count, kVocabulary, 5);
    if (count > 0) model.evaluateLast(*session, 0, tokens);
    saveSession(*model, *session, path, nullptr);
    const std::vector<float> expected = model.evaluateLast(*session, session->length(), {7});

    // In another process, so to say.
    LoadedModel other(modelFile());
    const auto restored = other->createSession();
    if (count == 65) other.evaluateLast(*restored, 0, {1, 2, 3});  // which is replaced
    restoreSession(*other, *restored, path, nullptr);
    CHECK(restored->tokens() == tokens);
    CHECK_EQUAL(restored->evaluated(), static_cast<int64_t>(count));
    checkSame(other.evaluateLast(*restored, restored->length(), {7}), expected);
  }
}

TEST(anotherCacheTypeEvaluatesTheTokensAgain) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.session";
  LoadedModel model(modelFile());
  const auto session = model->createSession();
  const std::vector<uint32_t> tokens = randomTokens(100, kVocabulary, 5);
  model.evaluateLast(*session, 0, tokens);
  saveSession(*model, *session, path, nullptr);

  gpt2::ModelOptions options = cpuOptions();
  options.cacheType = GGML_TYPE_F16;
  LoadedModel other(modelFile(), options);
  const auto restored = other->createSession();
  restoreSession(*other, *restored, path, nullptr);
  CHECK(restored->tokens() == tokens);
  CHECK_EQUAL(restored->evaluated(), 0);
}

TEST(theFileOfAnotherModelIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.session";
  LoadedModel model(modelFile());
  const auto session = model->createSession();
  model.evaluateLast(*session, 0, {1, 2, 3});
  saveSession(*model, *session, path, nullptr);

  LoadedModel other(modelFile(4));
  const auto kept = other->createSession();
  other.evaluateLast(*kept, 0, {5, 6});
  CHECK_ERROR(code::kInvalidFile, restoreSession(*other, *kept, path, nullptr));
  CHECK((kept->tokens() == std::vector<uint32_t>{5, 6}));
  CHECK_EQUAL(kept->evaluated(), 2);
  CHECK_ERROR(code::kFileNotFound, restoreSession(*other, *kept, path + "x", nullptr));

  gpt2::ModelOptions options = cpuOptions();
  options.contextLength = 2;
  LoadedModel small(modelFile(), options);
  CHECK_ERROR(code::kContextOverflow,
              restoreSession(*small, *small->createSession(), path, nullptr));
}

TEST(damagedFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/a.session";
  LoadedModel model(modelFile());
  const auto session = model->createSession();
  model.evaluateLast(*session, 0, randomTokens(70, kVocabulary, 5));
  saveSession(*model, *session, path, nullptr);
  const std::string whole = contentsOf(path);
  const auto check = [&](const std::string& bytes) {
    write(path, bytes);
    const auto kept = model->createSession();
    try {
      restoreSession(*model, *kept, path, nullptr);
      throw std::runtime_error("a damaged file was restored");
    } catch (const gpt2::Error& error) {
      CHECK(error.code() == std::string(code::kInvalidFile) ||
            error.code() == std::string(code::kContextOverflow));
    }
    CHECK_EQUAL(kept->length(), 0);
  };
  for (const size_t length : {0UL, 7UL, 47UL, 48UL, 100UL, 1000UL, whole.size() - 1}) {
    check(whole.substr(0, length));
  }
  check(whole + "x");
  check(whole + whole);
  gpt2::test::RandomNumbers random(8);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = whole;
    // Half of them in the header and the tokens.
    const size_t at = random.below(round % 2 == 0 ? 400 : whole.size());
    damaged[at] = static_cast<char>(damaged[at] ^ (1U << random.below(8)));
    check(damaged);
  }
}

TEST(checksumsDoNotDependOnTheSteps) {
  gpt2::test::RandomNumbers random(9);
  for (int round = 0; round < 200; ++round) {
    std::string bytes(random.below(60), '\0');
    for (char& c : bytes) c = static_cast<char>(random.below(256));
    Checksum whole;
    whole.add(bytes.data(), bytes.size());
    Checksum inSteps;
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = std::min(random.below(20), bytes.size() - at);
      inSteps.add(bytes.data() + at, length);
      at += length;
    }
    CHECK_EQUAL(inSteps.value(), whole.value());
    Checksum longer;
    bytes.push_back('\0');
    longer.add(bytes.data(), bytes.size());
    CHECK(longer.value() != whole.value());
  }
}
