// Models whose file is changed, replaced or deleted while they are open: an error or no difference,
// and never the end of the process.

#include <string>
#include <vector>

#include "changing_file.h"
#include "session_checks.h"

#ifndef _WIN32

using gpt2::Model;
using gpt2::ModelOptions;
using gpt2::test::Change;
using gpt2::test::cpuOptions;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::ReferenceModel;
using gpt2::test::TemporaryFile;
namespace code = gpt2::code;

namespace {

// A file of a few pages, and a model opened from it.
struct OpenModel {
  explicit OpenModel(bool map)
      : file(ReferenceModel({kVocabulary, 100, 24, 8, 2}, 3).file()), model(aged(), options(map)) {}

  std::string aged() const {
    gpt2::test::backdate(file.path());
    return file.path();
  }
  static ModelOptions options(bool map) {
    ModelOptions options = cpuOptions();
    options.map = map;
    return options;
  }
  std::vector<float> evaluate(gpt2::Session& session) {
    return gpt2::test::evaluate(model, session, 0, {1, 2, 3}, {2});
  }
  // Calls `onFirst` after the first of 20 tokens. Returns how many there were.
  template <typename Callback>
  size_t generate(gpt2::Session& session, Callback onFirst) {
    size_t heard = 0;
    gpt2::test::generate(model, session, 0, {1, 2, 3}, greedy(20), [&](uint32_t) {
      if (++heard == 1) onFirst();
    });
    return heard;
  }

  TemporaryFile file;
  Model model;
};

}  // namespace

TEST(aMappedModelWhoseFileIsChangedIsUnreadable) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(true);
    const auto session = open.model.createSession();
    open.evaluate(*session);
    change(open.file.path());
    CHECK_ERROR(code::kFileUnreadable, open.evaluate(*session));
    CHECK_ERROR(code::kFileUnreadable, open.generate(*session, [] {}));
    CHECK_ERROR(code::kFileUnreadable, open.evaluate(*open.model.createSession()));
  }
}

TEST(aMappedModelWhoseFileIsChangedInAGenerationEndsIt) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(true);
    const auto session = open.model.createSession();
    CHECK_ERROR(code::kFileUnreadable, open.generate(*session, [&] { change(open.file.path()); }));
    CHECK_EQUAL(session->length(), 4);  // the prompt and the token of before
  }
}

// The head looks for itself, since the embedding that it multiplies with is a part of the file too.
TEST(aFileThatIsChangedBeforeTheHeadIsUnreadable) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(true);
    gpt2::Device device("cpu", 1);
    gpt2::ForwardPass pass(open.model.weights(), device, gpt2::OperatorSet::kFused);
    const std::vector<float> hidden(24);
    std::vector<float> logits(kVocabulary);
    pass.logits(hidden.data(), 1, false, logits.data(), nullptr);
    change(open.file.path());
    CHECK_ERROR(code::kFileUnreadable,
                pass.logits(hidden.data(), 1, false, logits.data(), nullptr));
  }
}

TEST(aModelInMemoryGoesOn) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(false);
    const auto session = open.model.createSession();
    const std::vector<float> expected = open.evaluate(*session);
    CHECK_EQUAL(open.generate(*session, [&] { change(open.file.path()); }), 20U);
    CHECK(open.evaluate(*session) == expected);
  }
}

TEST(aModelWhoseFileIsReplacedOrDeletedGoesOn) {
  for (const Change& change : gpt2::test::changesOfTheName()) {
    for (const bool map : {true, false}) {
      OpenModel open(map);
      const auto session = open.model.createSession();
      const std::vector<float> expected = open.evaluate(*session);
      CHECK_EQUAL(open.generate(*session, [&] { change(open.file.path()); }), 20U);
      CHECK(open.evaluate(*session) == expected);
    }
  }
}

#else

TEST(aMappedModelWhoseFileIsChangedIsUnreadable) {
  SKIP("Windows does not let others change an open file");
}
TEST(aMappedModelWhoseFileIsChangedInAGenerationEndsIt) {
  SKIP("Windows does not let others change an open file");
}
TEST(aFileThatIsChangedBeforeTheHeadIsUnreadable) {
  SKIP("Windows does not let others change an open file");
}
TEST(aModelInMemoryGoesOn) { SKIP("Windows does not let others change an open file"); }
TEST(aModelWhoseFileIsReplacedOrDeletedGoesOn) {
  SKIP("Windows does not let others change an open file");
}

#endif

TEST(aPathWithAZeroByteIsNoModel) {
  const gpt2::test::TemporaryFile file(gpt2::test::ReferenceModel({}).file());
  CHECK_ERROR(gpt2::code::kFileNotFound, gpt2::Model(file.path() + '\0', gpt2::test::cpuOptions()));
}
