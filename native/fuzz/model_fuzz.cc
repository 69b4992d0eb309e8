// Opens any bytes as a model. They are rejected as INVALID_FILE or UNSUPPORTED_MODEL, or the model
// evaluates tokens and generates.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../test/run_requests.h"
#include "../test/stages.h"
#include "base/error.h"
#include "memory_file.h"
#include "model/model.h"

using gpt2::Model;
namespace code = gpt2::code;

namespace {

bool isOneOf(const gpt2::Error& error, std::initializer_list<const char*> codes) {
  return std::any_of(codes.begin(), codes.end(), [&](const char* candidate) {
    return std::strcmp(error.code(), candidate) == 0;
  });
}

std::unique_ptr<Model> open(const std::string& path, bool map) {
  gpt2::ModelOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.map = map;
  try {
    return std::make_unique<Model>(path, options);
  } catch (const gpt2::Error& error) {
    if (!isOneOf(error, {code::kInvalidFile, code::kUnsupportedModel})) throw;
    return nullptr;
  }
}

// Evaluates several tokens, copies the session, and generates one token after the other.
void compute(Model& model) {
  constexpr int64_t kMaxTokens = 4;
  const int64_t vocabSize = model.weights().hyperparameters().vocabSize;
  std::vector<uint32_t> tokens(static_cast<size_t>(std::min(model.contextLength(), kMaxTokens)));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<uint32_t>((vocabSize - 1) * static_cast<int64_t>(i % 2));
  }
  std::vector<int64_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  const auto session = model.createSession();
  gpt2::test::evaluate(model, *session, 0, tokens, positions);

  const auto copy = model.createSession();
  copy->copyFrom(*session);
  gpt2::GenerateOptions options;
  options.maxTokens = 3;
  options.stages = {gpt2::test::stage("topK", {{"k", 8}}), gpt2::test::stage("topP", {{"p", 0.9}})};
  try {
    gpt2::test::generate(model, *session, 1, {}, options, [](gpt2::NewToken&&) {});
  } catch (const gpt2::Error& error) {
    if (!isOneOf(error, {code::kNotFinite})) throw;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const gpt2::fuzz::MemoryFile file;
  file.write(data, size);
  for (const bool map : {true, false}) {
    if (const auto model = open(file.path(), map)) compute(*model);
  }
  return 0;
}
