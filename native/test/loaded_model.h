#pragma once

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "model/model.h"
#include "run_requests.h"
#include "temporary_file.h"

namespace gpt2::test {

// Options for tests: always on the CPU, even if the build supports other devices, and every token
// is evaluated, even if another sequence has the same beginning.
inline ModelOptions cpuOptions(int threads = 1) {
  ModelOptions options;
  options.device = "cpu";
  options.threads = threads;
  options.sharesPrefixes = false;
  return options;
}

// A model opened from bytes, with the temporary file that it maps.
class LoadedModel {
 public:
  explicit LoadedModel(const std::string& bytes, const ModelOptions& options = cpuOptions())
      : file_(bytes), model_(file_.path(), options) {}

  Model& operator*() { return model_; }
  Model* operator->() { return &model_; }
  size_t vocabulary() const {
    return static_cast<size_t>(model_.weights().hyperparameters().vocabSize);
  }

  // The logits at these positions: [positions, vocabulary].
  std::vector<float> evaluate(Session& session, int64_t keep, const std::vector<uint32_t>& tokens,
                              const std::vector<int64_t>& positions,
                              const CancelFlag* cancelled = nullptr) {
    return test::evaluate(model_, session, keep, tokens, positions, cancelled);
  }
  // The logits at all positions.
  std::vector<float> evaluateAll(Session& session, int64_t keep,
                                 const std::vector<uint32_t>& tokens,
                                 const CancelFlag* cancelled = nullptr) {
    std::vector<int64_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    return evaluate(session, keep, tokens, positions, cancelled);
  }
  std::vector<float> evaluateAll(const std::vector<uint32_t>& tokens) {
    return evaluateAll(*model_.createSession(), 0, tokens);
  }
  std::vector<float> evaluateLast(Session& session, int64_t keep,
                                  const std::vector<uint32_t>& tokens) {
    return evaluate(session, keep, tokens, {static_cast<int64_t>(tokens.size()) - 1});
  }

 private:
  TemporaryFile file_;
  Model model_;
};

}  // namespace gpt2::test
