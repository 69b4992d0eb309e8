#pragma once

#include <cstdint>
#include <vector>

#include "device.h"
#include "session.h"
#include "tensor_context.h"
#include "weights.h"

namespace gpt2 {

// ggml's own operations, on any device, or ours, on the CPU.
enum class OperatorSet { kStock, kFused };

// Runs the transformer over tokens and the head over chosen rows: builds the graph, allocates it in
// memory that is kept from pass to pass, and computes it.
class ForwardPass {
 public:
  // Tokens of one pass at most: bounds the memory for activations and the time to a cancellation.
  static constexpr int64_t kSliceLength = 256;
  // Rows of one pass of the head at most: bounds the copy of the logits.
  static constexpr int64_t kHeadRows = 64;

  ForwardPass(const Weights& weights, Device& device, OperatorSet operators);

  // Evaluates the session's next `count` (≤ kSliceLength) tokens that have not been, for which its
  // cache must have room. rows: some of them, as indices below `count` in rising order. Returns the
  // hidden states of these, [width, rows], valid until the next call.
  const float* run(Session& session, int64_t count, const std::vector<int64_t>& rows,
                   const CancelFlag* cancelled);

  // The logits of `count` (≤ kHeadRows) hidden states. hidden: [width, count];
  // out: [vocabulary, count].
  void logits(const float* hidden, int64_t count, float* out, const CancelFlag* cancelled);

  // Memory held for activations.
  size_t byteSize() const noexcept;

 private:
  struct Input {
    ggml_tensor* tensor;
    const void* data;
  };

  ggml_cgraph* newGraph();
  // Fills the inputs, computes the graph and copies `output` to `out`.
  void compute(AllocatorPtr& allocator, ggml_cgraph* graph, const std::vector<Input>& inputs,
               ggml_tensor* output, float* out, const CancelFlag* cancelled);

  const Weights& weights_;
  Device& device_;
  OperatorSet operators_;
  size_t nodeLimit_;
  TensorContext graphContext_;  // of the pass under way
  // One for each kind of graph, so that a plan is kept from pass to pass.
  AllocatorPtr fewTokens_, manyTokens_, head_;
  std::vector<float> hidden_;  // [width, rows of the last run]
};

}  // namespace gpt2
