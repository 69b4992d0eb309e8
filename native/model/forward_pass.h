#pragma once

#include <cstdint>
#include <vector>

#include "base/tensor_context.h"
#include "model/session.h"
#include "model/weights.h"
#include "ops/device.h"

namespace gpt2 {

// ggml's own operations, on any device, or ours, on the CPU.
enum class OperatorSet { kStock, kFused };

// Tokens of a session that are evaluated in one pass.
struct Slice {
  Session* session;
  int64_t count;              // its next tokens that have not been
  std::vector<int64_t> rows;  // of them, those whose hidden states are asked for, in rising order
};

// Runs the transformer over tokens and the head over chosen rows: builds the graph, allocates it in
// memory that is kept from pass to pass, and computes it.
class ForwardPass {
 public:
  // Tokens of one pass at most: bounds the memory for activations and the time to a cancellation.
  static constexpr int64_t kSliceLength = 256;
  // Tokens of a slice at most that shares a pass with others, that linear layers read as rows, and
  // whose activations are rounded where weights are quantised.
  static constexpr int64_t kFewTokens = 8;
  // Rows of one pass of the head at most: bounds the copy of the logits.
  static constexpr int64_t kHeadRows = 64;

  ForwardPass(const Weights& weights, Device& device, OperatorSet operators);

  // Whether several slices can be evaluated at once, each with the bits that it has alone: ours
  // can.
  bool sharesPasses() const noexcept { return operators_ == OperatorSet::kFused; }

  // Evaluates one slice, or several of at most kFewTokens each; together at most kSliceLength
  // tokens, for which the sessions' caches must have room. A session gives the same in company as
  // alone. Returns the hidden states asked for, [width, rows of all slices], valid until the next
  // call.
  const float* run(const std::vector<Slice>& slices, const CancelFlag* cancelled);

  // The logits of `count` (≤ kHeadRows) hidden states, of one slice or of several. hidden:
  // [width, count]; out: [vocabulary, count].
  void logits(const float* hidden, int64_t count, bool several, float* out,
              const CancelFlag* cancelled);

  // Memory held for activations.
  size_t byteSize() const noexcept;

 private:
  struct Input {
    ggml_tensor* tensor;
    const void* data;
  };

  // Both write the hidden states asked for to `out`.
  void runFused(const std::vector<Slice>& slices, float* out, const CancelFlag* cancelled);
  void runStock(const Slice& slice, float* out, const CancelFlag* cancelled);
  // What the transformer begins with: [width, tokens of the slices].
  std::vector<float> embed(const std::vector<Slice>& slices) const;
  // Tokens that linear layers read as rows; more are packed. several: slices.
  int64_t mostRows(bool several) const;
  ggml_cgraph* newGraph();
  // Fills the inputs, computes the graph and copies `output` to `out`.
  void compute(AllocatorPtr& allocator, ggml_cgraph* graph, const std::vector<Input>& inputs,
               ggml_tensor* output, float* out, const CancelFlag* cancelled);

  const Weights& weights_;
  Device& device_;
  OperatorSet operators_;
  bool hasQuantizedWeights_;
  size_t nodeLimit_;
  TensorContext graphContext_;  // of the pass under way
  // One for each kind of graph, so that a plan is kept from pass to pass.
  AllocatorPtr fewTokens_, manyTokens_, head_;
  std::vector<float> hidden_;  // [width, rows of the last run]
};

}  // namespace gpt2
