#pragma once

#include <cstdint>
#include <vector>

#include "base/tensor_context.h"
#include "model/batch.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "ops/device.h"

namespace gpt2 {

// ggml's own operations, on any device, or steps of our own, on the CPU.
enum class OperatorSet { kStock, kFused };

// Runs the transformer over tokens and the head over hidden states. Builds the graph, allocates it
// in memory that is kept from pass to pass, and computes it.
class ForwardPass {
 public:
  // Maximum number of tokens in a pass; bounds the memory for activations and the delay of a
  // cancellation.
  static constexpr int64_t kMaxBatchTokens = 256;
  // Up to this number of tokens, a pass takes the memory for decoding, which is planned apart.
  static constexpr int64_t kMaxDecodeTokens = 8;
  // Maximum number of rows in a pass of the head; bounds the buffer for logits.
  static constexpr int64_t kMaxHeadRows = 64;

  ForwardPass(const Weights& weights, Device& device, OperatorSet operators);

  // Whether a batch may have several entries.
  bool sharesPasses() const noexcept { return operators_ == OperatorSet::kFused; }

  // Evaluates entries of together at most kMaxBatchTokens tokens, several if sharesPasses(). The
  // caches must be prepared for them. The result for an entry does not depend on the other entries,
  // bit for bit. Returns the hidden states of the output rows, [width, output rows of all entries],
  // valid until the next call.
  const float* run(const std::vector<BatchEntry>& batch, const CancelFlag* cancelled);

  // Computes outputs of `count` ≤ kMaxHeadRows hidden states, [width, count]; those of the residual
  // stream are the hidden states. Returns [vocabulary, count] or [width, count], valid until the
  // next call.
  const float* outputs(const float* hidden, int64_t count, OutputKind kind,
                       const CancelFlag* cancelled);

  // Memory held for activations.
  size_t byteSize() const noexcept;

 private:
  struct Input {
    ggml_tensor* tensor;
    const void* data;
  };

  // Both write the hidden states of the output rows to `out`.
  void runFused(const std::vector<BatchEntry>& batch, float* out, const CancelFlag* cancelled);
  void runStock(const BatchEntry& entry, float* out, const CancelFlag* cancelled);
  // The sums of token and position embeddings: [width, tokens of all entries], valid until the next
  // call.
  const float* embed(const std::vector<BatchEntry>& batch);
  AllocatorPtr& allocatorFor(int64_t tokens);
  ggml_cgraph* newGraph();
  // Fills the inputs and computes the graph with the copies and `output`.
  void compute(AllocatorPtr& allocator, ggml_cgraph* graph, const std::vector<Input>& inputs,
               ggml_tensor* output, const ResidualCopies& copies, const CancelFlag* cancelled);

  const Weights& weights_;
  Device& device_;
  OperatorSet operators_;
  bool packsActivations_;
  size_t nodeLimit_;
  TensorContext graphContext_;  // of the current pass
  // One for each kind of graph, so that ggml reuses its allocation plan from pass to pass.
  AllocatorPtr decodeAllocator_, prefillAllocator_, headAllocator_;
  // Memory that is kept from pass to pass; the first use of new memory takes a page fault for 4 KB.
  std::vector<float> hidden_;      // [width, output rows of the last run]
  std::vector<float> embeddings_;  // [width, 1 + tokens]; the first row is that of a position
  std::vector<float> rows_;        // outputs of a device that has memory of its own
};

}  // namespace gpt2
