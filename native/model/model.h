#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/forward_pass.h"
#include "model/session.h"
#include "model/weights.h"
#include "ops/device.h"

namespace gpt2 {

class Request;

struct ModelOptions {
  std::string device = "auto";
  int threads = 0;                     // 0: physicalCpuCount()
  int64_t contextLength = 0;           // 0: the model's own
  std::optional<ggml_type> cacheType;  // f32 or f16; unset: f32 for f32 weights, else f16
  bool map = true;
  OperatorSet operators = OperatorSet::kFused;  // on the CPU; kStock, for tests, has one thread
};

// A model in memory, ready to compute. Belongs to one thread at a time: the worker's.
class Model {
 public:
  // Throws what Device, ModelFiles and Weights throw, and ABORTED.
  Model(const std::string& path, const ModelOptions& options,
        const CancelFlag* cancelled = nullptr);

  const Weights& weights() const noexcept { return weights_; }
  const Device& device() const noexcept { return device_; }
  int64_t contextLength() const noexcept { return contextLength_; }
  ggml_type cacheType() const noexcept { return cacheType_; }
  // The id that ends a text, if the file names one that is in the vocabulary.
  std::optional<uint32_t> endOfText() const noexcept { return endOfText_; }
  size_t anonymousBytes() const noexcept;

  std::unique_ptr<Session> createSession();

  // One pass: evaluates the next tokens of each request and lets it hear the logits it asked for;
  // an error of that kind is the request's own. Several requests must have few tokens each, at most
  // ForwardPass::kFewTokens. Throws ABORTED, FILE_UNREADABLE or OUT_OF_MEMORY, and then the pass
  // can be done again.
  void advance(const std::vector<Request*>& requests, const CancelFlag* cancelled);

 private:
  Device device_;
  Weights weights_;
  int64_t contextLength_;
  ggml_type cacheType_;
  std::optional<uint32_t> endOfText_;
  ForwardPass forwardPass_;
  std::vector<float> logits_;  // of one pass of the head
};

}  // namespace gpt2
