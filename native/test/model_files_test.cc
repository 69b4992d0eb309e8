// Models in one file and in several. A split model computes the same logits as the whole file.
// Parts that do not belong together are rejected.

#include "gguf/model_files.h"

#include <gguf.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/tensor_context.h"
#include "changing_file.h"
#include "damage_bytes.h"
#include "random_numbers.h"
#include "session_checks.h"
#include "split_draft.h"

using gpt2::Model;
using gpt2::ModelFiles;
using gpt2::ModelOptions;
using gpt2::OperatorSet;
using gpt2::test::cpuOptions;
using gpt2::test::damagedBytes;
using gpt2::test::GgufBuilder;
using gpt2::test::LoadedModel;
using gpt2::test::RandomNumbers;
using gpt2::test::randomTokens;
using gpt2::test::raw;
using gpt2::test::rawString;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::SplitDraft;
using gpt2::test::TemporaryFile;
using gpt2::test::TemporaryFolder;
using gpt2::test::writeFile;
namespace code = gpt2::code;

namespace {

const ReferenceShape kShape{61, 48, 32, 8, 2};

ReferenceModel reference(ggml_type type = GGML_TYPE_F32) {
  ReferenceModel model(kShape);
  model.encodeMatrices(type);
  return model;
}

std::vector<float> logitsOf(Model& model) {
  const std::vector<uint32_t> tokens = randomTokens(20, kShape.vocabulary, 3);
  std::vector<int64_t> positions(tokens.size());
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int64_t>(i);
  return gpt2::test::evaluate(model, *model.createSession(), 0, tokens, positions);
}

// Returns the message of the error with this code that opening the file ends with, mapped or read.
std::string refusal(const std::string& path, const char* expectedCode) {
  std::string messages[2];
  for (const bool map : {true, false}) {
    try {
      const ModelFiles files(path, map);
      gpt2::test::fail(__FILE__, __LINE__, path + " was opened");
    } catch (const gpt2::Error& error) {
      CHECK_EQUAL(std::string(error.code()), expectedCode);
      messages[map ? 1 : 0] = error.what();
    }
  }
  CHECK_EQUAL(messages[0], messages[1]);
  return messages[0];
}

// The error must name the part with this index.
void checkRefused(const SplitDraft& draft, size_t part, const std::string& reason) {
  const TemporaryFolder folder;
  const std::string message = refusal(draft.write(folder), code::kInvalidFile);
  if (message != draft.path(folder, part) + ": " + reason) {
    gpt2::test::fail(__FILE__, __LINE__, "expected \"" + reason + "\" but received: " + message);
  }
}

template <typename Change>
SplitDraft changed(Change change) {
  SplitDraft draft(reference());
  change(draft);
  return draft;
}

}  // namespace

TEST(aSplitModelComputesTheBitsOfTheWholeFile) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_1}) {
    const ReferenceModel model = reference(type);
    LoadedModel whole(model.file());
    for (const size_t count : {size_t{2}, size_t{3}, model.tensors().size()}) {
      for (const bool firstIsEmpty : {false, true}) {
        SplitDraft draft(model, count);
        if (firstIsEmpty) draft.withoutTensorsInTheFirst();
        const TemporaryFolder folder;
        const std::string path = draft.write(folder);
        for (const bool map : {true, false}) {
          ModelOptions options = cpuOptions();
          options.map = map;
          Model split(path, options);
          CHECK(logitsOf(split) == logitsOf(*whole));
          CHECK_EQUAL(split.weights().parameterCount(), whole->weights().parameterCount());
          CHECK_EQUAL(split.weights().dominantType(), whole->weights().dominantType());
        }
      }
    }
  }
}

TEST(aSplitModelComputesThemWithGgmlsOperators) {
  const TemporaryFolder folder;
  const TemporaryFile file(reference().file());
  ModelOptions options = cpuOptions();
  options.operators = OperatorSet::kStock;
  Model whole(file.path(), options);
  Model split(SplitDraft(reference()).write(folder), options);
  CHECK(logitsOf(split) == logitsOf(whole));
}

// Matrices without ggml's alignment are copied. Those of the other parts stay in the mapped file.
TEST(eachPartHasItsOwnAlignment) {
  SplitDraft draft(reference());
  draft.part(1).set("general.name", 8, rawString("any other")).alignment = 8;
  const TemporaryFolder folder;
  Model split(draft.write(folder), cpuOptions());
  const auto& parts = split.weights().files().parts();
  CHECK(reinterpret_cast<uintptr_t>(parts[1]->tensors()[0].data) % 32 != 0);
  CHECK(reinterpret_cast<uintptr_t>(parts[2]->tensors()[0].data) % 32 == 0);
  LoadedModel whole(reference().file());
  CHECK(logitsOf(split) == logitsOf(*whole));
}

TEST(findsTheTensorsOfAllParts) {
  const TemporaryFolder folder;
  const SplitDraft draft(reference(), 4);
  const std::string path = draft.write(folder);
  const ModelFiles files(path, true);
  CHECK_EQUAL(files.parts().size(), 4U);
  CHECK_EQUAL(files.first().path(), path);
  CHECK_EQUAL(files.tensors().size(), reference().tensors().size());
  for (const gpt2::TensorInfo* tensor : files.tensors()) {
    CHECK(files.findTensor(tensor->name) == tensor);
    CHECK(tensor->data > tensor->file->bytes().data());
  }
  for (const char* absent : {"", "blk.9.ffn_up.weight", "split.no"}) {
    CHECK(files.findTensor(absent) == nullptr);
  }
}

TEST(countsTheBytesOfAllParts) {
  const TemporaryFolder folder;
  const SplitDraft draft(reference());
  const std::string path = draft.write(folder);
  size_t sum = 0;
  for (size_t i = 0; i < 3; ++i) sum += draft.bytes(i).size();
  CHECK_EQUAL(ModelFiles(path, true).anonymousBytes(), 0U);
  CHECK_EQUAL(ModelFiles(path, false).anonymousBytes(), sum);
}

// Does what gguf-split does, with the writer that it uses.
TEST(readsPartsWrittenByGgml) {
  const ReferenceModel model = reference(GGML_TYPE_Q5_0);
  const size_t total = model.tensors().size();
  constexpr size_t kCount = 3;
  const TemporaryFolder folder;
  gguf_context* writers[kCount];
  const gpt2::TensorContext context(total);
  for (size_t i = 0; i < kCount; ++i) {
    writers[i] = gguf_init_empty();
    if (i == 0) {
      gguf_set_val_str(writers[i], "general.architecture", "gpt2");
      gguf_set_val_u32(writers[i], "gpt2.context_length", 48);
      gguf_set_val_u32(writers[i], "gpt2.embedding_length", 32);
      gguf_set_val_u32(writers[i], "gpt2.block_count", 2);
      gguf_set_val_u32(writers[i], "gpt2.attention.head_count", 8);
      gguf_set_val_f32(writers[i], "gpt2.attention.layer_norm_epsilon", 1e-5F);
    }
    gguf_set_val_u16(writers[i], "split.no", static_cast<uint16_t>(i));
    gguf_set_val_u16(writers[i], "split.count", kCount);
    gguf_set_val_i32(writers[i], "split.tensors.count", static_cast<int32_t>(total));
  }
  size_t at = 0;
  for (const auto& [name, source] : model.tensors()) {
    const auto in = static_cast<int64_t>(source.in);
    const auto out = static_cast<int64_t>(source.out);
    ggml_tensor* tensor = source.out == 0 ? ggml_new_tensor_1d(context.get(), source.type, in)
                                          : ggml_new_tensor_2d(context.get(), source.type, in, out);
    ggml_set_name(tensor, name.c_str());
    gguf_context* writer = writers[at++ * kCount / total];
    gguf_add_tensor(writer, tensor);
    gguf_set_tensor_data(writer, name.c_str(), source.bytes.data());
  }
  for (size_t i = 0; i < kCount; ++i) {
    const std::string path = folder.path(SplitDraft::name(i, kCount));
    CHECK(gguf_write_to_file(writers[i], path.c_str(), false));
    gguf_free(writers[i]);
  }
  Model split(folder.path(SplitDraft::name(0, kCount)), cpuOptions());
  LoadedModel whole(model.file());
  CHECK(logitsOf(split) == logitsOf(*whole));
}

TEST(aFileOfOnePartIsNotSplit) {
  for (const int count : {0, 1}) {  // gguf-split --merge writes 0
    for (const int number : {0, 2}) {
      GgufBuilder builder = reference().metadata();
      builder.metadata("split.count", 2, raw(static_cast<uint16_t>(count)))
          .metadata("split.no", 2, raw(static_cast<uint16_t>(number)));
      LoadedModel model(reference().addTensors(builder).bytes());
      CHECK_EQUAL(model->weights().files().parts().size(), 1U);
      CHECK_EQUAL(logitsOf(*model).size(), 20 * kShape.vocabulary);
    }
  }
}

TEST(rejectsAnyPartButTheFirst) {
  const TemporaryFolder folder;
  const SplitDraft draft(reference());
  draft.write(folder);
  for (const size_t part : {size_t{1}, size_t{2}}) {
    CHECK_EQUAL(refusal(draft.path(folder, part), code::kInvalidFile),
                draft.path(folder, part) + ": expected the first part of the model, " +
                    draft.path(folder, 0) + ", but found part " + std::to_string(part + 1) +
                    " of 3");
  }
}

TEST(rejectsNamesWithoutThePartsNumber) {
  const SplitDraft draft(reference());
  for (const std::string& name :
       {std::string("model.gguf"), SplitDraft::name(0, 2), SplitDraft::name(1, 3),
        SplitDraft::name(0, 3) + ".gguf", std::string("model-1-of-3.gguf"),
        std::string("model-00001-of-00003.GGUF"), std::string("00001-of-00003.gguf"),
        std::string("f")}) {
    const TemporaryFolder folder;
    draft.write(folder);
    const std::string path = folder.path(name);
    writeFile(path, draft.bytes(0));
    CHECK_EQUAL(refusal(path, code::kInvalidFile),
                path +
                    ": expected a name that ends with \"-00001-of-00003.gguf\", since the file "
                    "is part 1 of 3 of a model");
  }
}

TEST(namesAMissingPart) {
  const SplitDraft draft(reference());
  for (const size_t part : {size_t{1}, size_t{2}}) {
    const TemporaryFolder folder;
    const std::string path = draft.write(folder);
    std::filesystem::remove(draft.path(folder, part));
    CHECK(refusal(path, code::kFileNotFound).rfind(draft.path(folder, part) + ": ", 0) == 0);
    std::filesystem::create_directory(draft.path(folder, part));
    CHECK(refusal(path, code::kFileUnreadable).rfind(draft.path(folder, part) + ": ", 0) == 0);
  }
}

TEST(rejectsImpossibleCounts) {
  const auto withCount = [](uint32_t type, const std::string& bytes) {
    return changed([&](SplitDraft& draft) { draft.part(0).set("split.count", type, bytes); });
  };
  const std::string expected = "expected split.count to be a whole number from 0 to 65535";
  checkRefused(withCount(4, raw<uint32_t>(65536)), 0, expected + " but found 65536");
  checkRefused(withCount(4, raw<uint32_t>(0xffffffff)), 0, expected + " but found 4294967295");
  checkRefused(withCount(10, raw<uint64_t>(uint64_t{1} << 63U)), 0,
               expected + " but found 9223372036854775808");
  checkRefused(withCount(5, raw<int32_t>(-3)), 0, expected + " but found -3");
  checkRefused(withCount(6, raw(2.5F)), 0, expected + " but found 2.5");
  checkRefused(withCount(6, raw(std::nanf(""))), 0, expected + " but found nan");
  checkRefused(withCount(8, rawString("3")), 0, expected + " but found a value of another type");
}

// The claimed number of parts allocates no memory.
TEST(rejectsMorePartsThanExist) {
  SplitDraft draft(reference());
  draft.part(0).count(65535);
  const TemporaryFolder folder;
  const std::string path = folder.path(SplitDraft::name(0, 65535));
  writeFile(path, draft.bytes(0));
  CHECK(
      refusal(path, code::kFileNotFound).rfind(folder.path(SplitDraft::name(1, 65535)) + ": ", 0) ==
      0);
}

TEST(rejectsPartsWhoseNumbersDisagree) {
  checkRefused(changed([](SplitDraft& draft) { draft.part(0).number(3); }), 0,
               "expected split.no to be a whole number from 0 to 2 but found 3");
  checkRefused(changed([](SplitDraft& draft) { draft.part(1).number(2); }), 1,
               "expected split.no to be 1, as its name says, but found 2");
  checkRefused(changed([](SplitDraft& draft) { draft.part(2).number(0); }), 2,
               "expected split.no to be 2, as its name says, but found 0");
  checkRefused(changed([](SplitDraft& draft) { draft.part(2).tensorCount(-1); }), 2,
               "expected split.tensors.count to be a whole number from 0 to 2147483647 but found "
               "-1");
  for (const int count : {0, 1, 2, 4}) {
    const SplitDraft draft = changed([&](SplitDraft& change) { change.part(1).count(count); });
    const TemporaryFolder folder;
    const std::string path = draft.write(folder);
    CHECK_EQUAL(refusal(path, code::kInvalidFile),
                draft.path(folder, 1) + ": expected split.count to be 3, as in " + path +
                    ", but found " + std::to_string(count));
  }
}

TEST(rejectsMissingNumbers) {
  for (const std::string key : {"split.no", "split.count", "split.tensors.count"}) {
    for (const size_t part : {size_t{0}, size_t{2}}) {
      if (part == 0 && key == "split.count") continue;  // a file that is not split
      checkRefused(changed([&](SplitDraft& draft) { draft.part(part).keys.erase(key); }), part,
                   "the metadata value \"" + key + "\" is missing");
    }
  }
}

TEST(rejectsAWrongNumberOfTensors) {
  const int total = static_cast<int>(reference().tensors().size());
  const auto found = [](int expected, int count) {
    return "expected " + std::to_string(expected) +
           " tensors in its 3 parts, as split.tensors.count says, but found " +
           std::to_string(count);
  };
  for (const int count : {0, total - 1, total + 1, 0x7fffffff}) {
    checkRefused(changed([&](SplitDraft& draft) {
                   for (size_t i = 0; i < 3; ++i) draft.part(i).tensorCount(count);
                 }),
                 0, found(count, total));
  }
  checkRefused(changed([](SplitDraft& draft) { draft.part(2).tensors.pop_back(); }), 0,
               found(total, total - 1));
}

TEST(rejectsATensorThatOccursTwice) {
  const SplitDraft draft = changed(
      [](SplitDraft& change) { change.part(2).tensors.back() = change.part(0).tensors.front(); });
  const TemporaryFolder folder;
  const std::string path = draft.write(folder);
  CHECK_EQUAL(refusal(path, code::kInvalidFile),
              draft.path(folder, 2) +
                  ": the tensor \"blk.0.attn_norm.bias\" occurs twice, here "
                  "and in " +
                  path);
  checkRefused(
      changed([](SplitDraft& change) {
        change.part(1).tensors.push_back(change.part(1).tensors.front());
      }),
      1, "the tensor \"" + SplitDraft(reference()).part(1).tensors.front() + "\" occurs twice");
}

TEST(rejectsAPartThatIsNotAGgufFile) {
  const SplitDraft draft(reference());
  const TemporaryFolder folder;
  const std::string path = draft.write(folder);
  writeFile(draft.path(folder, 1), "");
  CHECK(refusal(path, code::kInvalidFile).rfind(draft.path(folder, 1) + ": ", 0) == 0);
  // A copy of the first part under the name of another.
  writeFile(draft.path(folder, 1), draft.bytes(0));
  CHECK_EQUAL(refusal(path, code::kInvalidFile),
              draft.path(folder, 1) + ": expected split.no to be 1, as its name says, but found 0");
}

TEST(stopsBetweenParts) {
  const TemporaryFolder folder;
  const std::string path = SplitDraft(reference()).write(folder);
  const gpt2::CancelFlag cancelled(true);
  for (const bool map : {true, false}) {
    CHECK_ERROR(code::kAborted, ModelFiles(path, map, &cancelled));
  }
}

// Copies of a split model with bytes of one part changed. Each is rejected with a gpt2::Error, or
// opens and computes.
TEST(survivesChangedBytes) {
  const SplitDraft draft{ReferenceModel({7, 4, 4, 2, 1}), 2};
  const TemporaryFolder folder;
  const std::string path = draft.write(folder);
  RandomNumbers random(7);
  int opened = 0;
  constexpr int kCopies = 1000;
  for (int i = 0; i < kCopies; ++i) {
    const size_t part = random.below(4) == 0 ? 0 : 1;
    writeFile(draft.path(folder, part), damagedBytes(draft.bytes(part), random));
    ModelOptions options = cpuOptions();
    options.map = i % 2 == 0;
    try {
      Model model(path, options);
      gpt2::test::evaluate(model, *model.createSession(), 0, {0, 1}, {1});
      ++opened;
    } catch (const gpt2::Error& error) {
      const std::string received = error.code();
      CHECK(received == code::kInvalidFile || received == code::kUnsupportedModel ||
            received == code::kFileNotFound);
    }
    writeFile(draft.path(folder, part), draft.bytes(part));
  }
  // Both outcomes must occur, or the changes are too weak or too strong.
  CHECK(opened > kCopies / 50);
  CHECK(opened < kCopies * 19 / 20);
}

TEST(rejectsAPartTruncatedAnywhere) {
  const SplitDraft draft{ReferenceModel({7, 4, 4, 2, 1}), 2};
  const TemporaryFolder folder;
  const std::string path = draft.write(folder);
  const std::string whole = draft.bytes(1);
  for (size_t length = 0; length < whole.size(); length += 3) {
    writeFile(draft.path(folder, 1), whole.substr(0, length));
    CHECK_ERROR(code::kInvalidFile, ModelFiles(path, length % 2 == 0));
  }
}

#ifndef _WIN32

TEST(aMappedModelFailsAfterOneOfItsPartsChanged) {
  for (const gpt2::test::Change& change : gpt2::test::changesOfTheBytes()) {
    for (size_t part = 0; part < 3; ++part) {
      const SplitDraft draft(reference());
      const TemporaryFolder folder;
      const std::string path = draft.write(folder);
      for (size_t i = 0; i < 3; ++i) gpt2::test::backdate(draft.path(folder, i));
      Model mapped(path, cpuOptions());
      ModelOptions options = cpuOptions();
      options.map = false;
      Model copied(path, options);
      const std::vector<float> expected = logitsOf(copied);
      CHECK(logitsOf(mapped) == expected);
      change(draft.path(folder, part));
      CHECK_ERROR(code::kFileUnreadable, logitsOf(mapped));
      CHECK(logitsOf(copied) == expected);
    }
  }
}

#else

TEST(aMappedModelFailsAfterOneOfItsPartsChanged) {
  SKIP("Windows does not let others change an open file");
}

#endif
