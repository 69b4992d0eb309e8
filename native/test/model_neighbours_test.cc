// Several models that compute concurrently, each on its own thread. They must not affect each
// other.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "encoded_weights.h"
#include "loaded_model.h"
#include "reference_model.h"

using gpt2::test::encodeInAnyType;
using gpt2::test::LoadedModel;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;

namespace {

std::string fileIn(ggml_type type) {
  ReferenceShape shape{96, 100, 256, 8, 1};
  shape.inner = 512;
  ReferenceModel model(shape);
  std::vector<std::string> matrices;
  for (const auto& [name, tensor] : model.tensors()) {
    if (tensor.out != 0) matrices.push_back(name);
  }
  for (const std::string& name : matrices) encodeInAnyType(model, name, type);
  return model.file();
}

// Opens the model and evaluates a prompt, then single tokens in a copy of the session, then more
// tokens than the cache has room for.
std::vector<float> use(const std::string& file) {
  LoadedModel model(file);
  const std::vector<uint32_t> tokens = randomTokens(70, 96, 4);
  const auto first = model->createSession();
  std::vector<float> logits = model.evaluateAll(*first, 0, {tokens.begin(), tokens.begin() + 20});
  const auto session = model->createSession();
  session->copyFrom(*first);
  for (const size_t end : {21U, 22U, 70U}) {
    const auto begin = static_cast<size_t>(session->length());
    const std::vector<float> more = model.evaluateAll(*session, session->length(),
                                                      {tokens.data() + begin, tokens.data() + end});
    logits.insert(logits.end(), more.begin(), more.end());
  }
  return logits;
}

}  // namespace

// Runs them concurrently before any of them runs alone, so that ggml's lazy initialisation is
// tested too.
TEST(concurrentModelsGiveTheSameResultsAsAlone) {
  constexpr size_t kRounds = 5;
  const std::pair<ggml_type, ggml_type> kPairs[] = {{GGML_TYPE_F32, GGML_TYPE_Q4_K},
                                                    {GGML_TYPE_IQ2_XS, GGML_TYPE_MXFP4}};
  for (const auto& [one, other] : kPairs) {
    const std::string files[] = {fileIn(one), fileIn(other)};
    std::vector<std::vector<float>> together[2];
    std::atomic<int> ready{0};
    const auto work = [&](size_t index) {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      for (size_t round = 0; round < kRounds; ++round) {
        together[index].push_back(use(files[index]));
      }
    };
    std::thread thread(work, 0);
    work(1);
    thread.join();
    for (size_t index = 0; index < 2; ++index) {
      const std::vector<float> alone = use(files[index]);
      CHECK(std::all_of(alone.begin(), alone.end(), [](float x) { return std::isfinite(x); }));
      CHECK(together[index] == std::vector<std::vector<float>>(kRounds, alone));
    }
  }
}
