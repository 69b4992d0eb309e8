#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/forward_pass.h"
#include "model/session.h"
#include "model/weights.h"
#include "ops/device.h"

namespace gpt2 {

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
  // Throws what Device, ModelFiles and Weights throw, INVALID_ARGUMENT and ABORTED.
  Model(const std::string& path, const ModelOptions& options,
        const CancelFlag* cancelled = nullptr);

  const Weights& weights() const noexcept { return weights_; }
  const Device& device() const noexcept { return device_; }
  int64_t contextLength() const noexcept { return contextLength_; }
  ggml_type cacheType() const noexcept { return cacheType_; }
  // The ids of the tokens that end a text: those in the vocabulary that the file names.
  const std::set<uint32_t>& endOfText() const noexcept { return endOfText_; }
  size_t anonymousBytes() const noexcept;

  std::unique_ptr<Session> createSession();

  // Receives the logits, [vocabulary], of outputRows[output] of batch[entry]. They are valid during
  // the call, which must not throw.
  using OnLogits = std::function<void(size_t entry, size_t output, const float* logits)>;

  // One forward pass over a batch: evaluates the tokens of its entries, each of a session of its
  // own, together at most ForwardPass::kMaxBatchTokens, and passes the logits of their output rows
  // to `onLogits`, in order.
  //
  // Throws ABORTED, FILE_UNREADABLE or OUT_OF_MEMORY. An entry whose outputs were not all received
  // then counts as not evaluated, so that the pass can be repeated.
  void evaluate(const std::vector<BatchEntry>& batch, const OnLogits& onLogits,
                const CancelFlag* cancelled);

 private:
  Device device_;
  Weights weights_;
  int64_t contextLength_;
  ggml_type cacheType_;
  std::set<uint32_t> endOfText_;
  ForwardPass forwardPass_;
  std::vector<float> logits_;  // [vocabulary, ForwardPass::kMaxHeadRows] at most
};

}  // namespace gpt2
