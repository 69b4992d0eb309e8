// Models whose file is changed, replaced or deleted while they are open. The calls fail or work as
// before; the process never ends.

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
  // Calls `onFirst` after the first of 20 tokens. Returns the number of tokens.
  template <typename Callback>
  size_t generate(gpt2::Session& session, Callback onFirst) {
    size_t count = 0;
    gpt2::test::generate(model, session, 0, {1, 2, 3}, greedy(20), [&](gpt2::NewToken&&) {
      if (++count == 1) onFirst();
    });
    return count;
  }

  TemporaryFile file;
  Model model;
};

}  // namespace

TEST(aMappedModelFailsAfterItsFileChanged) {
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

TEST(aGenerationEndsWhenTheMappedFileChanges) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(true);
    const auto session = open.model.createSession();
    CHECK_ERROR(code::kFileUnreadable, open.generate(*session, [&] { change(open.file.path()); }));
    CHECK_EQUAL(session->length(), 4);  // the prompt and the first token
  }
}

// The head checks the file itself, since the embedding that it multiplies with is in the file too.
TEST(theHeadFailsAfterTheFileChanged) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(true);
    gpt2::Device device("cpu", 1);
    gpt2::ForwardPass pass(open.model.weights(), device, gpt2::OperatorSet::kFused);
    const std::vector<float> hidden(24);
    pass.outputs(hidden.data(), 1, gpt2::OutputKind::kLogits, nullptr);
    change(open.file.path());
    CHECK_ERROR(code::kFileUnreadable,
                pass.outputs(hidden.data(), 1, gpt2::OutputKind::kLogits, nullptr));
  }
}

TEST(aModelInMemoryIgnoresChanges) {
  for (const Change& change : gpt2::test::changesOfTheBytes()) {
    OpenModel open(false);
    const auto session = open.model.createSession();
    const std::vector<float> expected = open.evaluate(*session);
    CHECK_EQUAL(open.generate(*session, [&] { change(open.file.path()); }), 20U);
    CHECK(open.evaluate(*session) == expected);
  }
}

TEST(aModelIgnoresThatItsFileIsReplacedOrDeleted) {
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

TEST(aMappedModelFailsAfterItsFileChanged) {
  SKIP("Windows does not let others change an open file");
}
TEST(aGenerationEndsWhenTheMappedFileChanges) {
  SKIP("Windows does not let others change an open file");
}
TEST(theHeadFailsAfterTheFileChanged) { SKIP("Windows does not let others change an open file"); }
TEST(aModelInMemoryIgnoresChanges) { SKIP("Windows does not let others change an open file"); }
TEST(aModelIgnoresThatItsFileIsReplacedOrDeleted) {
  SKIP("Windows does not let others change an open file");
}

#endif

TEST(rejectsAPathWithAZeroByte) {
  const gpt2::test::TemporaryFile file(gpt2::test::ReferenceModel({}).file());
  CHECK_ERROR(gpt2::code::kFileNotFound, gpt2::Model(file.path() + '\0', gpt2::test::cpuOptions()));
}

TEST(acceptsACacheInF32AndF16Only) {
  const gpt2::test::TemporaryFile file(gpt2::test::ReferenceModel({}).file());
  gpt2::ModelOptions options = gpt2::test::cpuOptions();
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16}) {
    options.cacheType = type;
    CHECK(gpt2::Model(file.path(), options).cacheType() == type);
  }
  for (const ggml_type type : {GGML_TYPE_BF16, GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_I8}) {
    options.cacheType = type;
    CHECK_ERROR(gpt2::code::kInvalidArgument, gpt2::Model(file.path(), options));
  }
}
