#include "model/forward_pass.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/matrix_product.h"
#include "model/transformer.h"
#include "ops/fused_ops.h"
#include "ops/stock_ops.h"

namespace gpt2 {

namespace {

// Nodes and views that one layer of the stock operators makes; the head and the input need a few
// more.
constexpr size_t kNodesPerLayer = 48;
constexpr size_t kNodesBeside = 16;

// A token attends to itself and all before it. For `count` tokens from position `start` on:
// [start + count, count].
std::vector<float> causalMask(int64_t start, int64_t count) {
  const auto positions = static_cast<size_t>(start + count);
  std::vector<float> mask(positions * static_cast<size_t>(count));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const auto row = mask.begin() + static_cast<std::ptrdiff_t>(i * positions);
    std::fill(row + static_cast<std::ptrdiff_t>(static_cast<size_t>(start) + i + 1),
              row + static_cast<std::ptrdiff_t>(positions), -INFINITY);
  }
  return mask;
}

bool isQuantized(const Linear& linear) { return !isFloatType(linear.weight->type); }

bool hasQuantized(const Weights& weights) {
  return isQuantized(weights.head()) ||
         std::any_of(weights.layers().begin(), weights.layers().end(), [](const Layer& layer) {
           return isQuantized(layer.attentionQkv) || isQuantized(layer.attentionOutput) ||
                  isQuantized(layer.feedForwardUp) || isQuantized(layer.feedForwardDown);
         });
}

// The rows that a graph gives out. It needs an end: where nobody asks for any, it is the last.
std::vector<int64_t> askedOrLast(const std::vector<int64_t>& asked, int64_t count) {
  return asked.empty() ? std::vector<int64_t>{count - 1} : asked;
}

}  // namespace

ForwardPass::ForwardPass(const Weights& weights, Device& device, OperatorSet operators)
    : weights_(weights),
      device_(device),
      operators_(device.isCpu() ? operators : OperatorSet::kStock),
      hasQuantizedWeights_(hasQuantized(weights)),
      nodeLimit_(kNodesPerLayer * weights.layers().size() + kNodesBeside),
      graphContext_(nodeLimit_, nodeLimit_),
      fewTokens_(device.makeAllocator()),
      manyTokens_(device.makeAllocator()),
      head_(device.makeAllocator()) {}

const float* ForwardPass::run(const std::vector<Slice>& slices, const CancelFlag* cancelled) {
  weights_.files().checkUnchanged();
  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  size_t rows = 0;
  for (const Slice& slice : slices) rows += slice.rows.size();
  hidden_.resize((rows + 1) * width);  // the last is for what nobody asked for
  if (operators_ == OperatorSet::kFused) {
    runFused(slices, hidden_.data(), cancelled);
  } else {
    runStock(slices[0], hidden_.data(), cancelled);
  }
  for (const Slice& slice : slices) {
    slice.session->markEvaluated(slice.session->evaluated() + slice.count);
  }
  return hidden_.data();
}

int64_t ForwardPass::mostRows(bool several) const {
  // Reading rows rounds them for quantised weights, so the number of a sequence's own tokens
  // decides. Otherwise packing pays from about 12 on (docs/performance.md).
  return several && hasQuantizedWeights_ ? kSliceLength : kFewTokens;
}

// Token and position rows are added on the host: any type of table, and no lookup inside ggml that
// would end the process on an index out of range.
std::vector<float> ForwardPass::embed(const std::vector<Slice>& slices) const {
  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  std::vector<float> embeddings;
  std::vector<float> position(width);
  for (const Slice& slice : slices) {
    const int64_t start = slice.session->evaluated();
    for (int64_t i = start; i < start + slice.count; ++i) {
      embeddings.resize(embeddings.size() + width);
      float* row = &embeddings[embeddings.size() - width];
      weights_.tokenEmbedding().copyRow(slice.session->tokens()[static_cast<size_t>(i)], row);
      weights_.positionEmbedding().copyRow(i, position.data());
      for (size_t j = 0; j < width; ++j) row[j] += position[j];
    }
  }
  return embeddings;
}

void ForwardPass::runFused(const std::vector<Slice>& slices, float* out,
                           const CancelFlag* cancelled) {
  std::vector<Sequence> sequences;
  std::vector<int64_t> asked;
  int64_t tokens = 0;
  for (const Slice& slice : slices) {
    sequences.push_back({&slice.session->cache(), slice.session->evaluated(), slice.count});
    for (const int64_t row : slice.rows) asked.push_back(tokens + row);
    tokens += slice.count;
  }
  const std::vector<float> embeddings = embed(slices);
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, tokens);
  FusedOps ops(context, h, std::move(sequences), askedOrLast(asked, tokens),
               mostRows(slices.size() > 1));
  ggml_tensor* output = transformer(ops, weights_, input);
  compute(tokens <= kFewTokens ? fewTokens_ : manyTokens_, graph, {{input, embeddings.data()}},
          output, out, cancelled);
}

void ForwardPass::runStock(const Slice& slice, float* out, const CancelFlag* cancelled) {
  const int64_t start = slice.session->evaluated();
  const int64_t count = slice.count;
  const std::vector<float> embeddings = embed({slice});
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  std::vector<Input> inputs{{input, embeddings.data()}};
  ggml_tensor* mask = nullptr;
  const std::vector<float> causal = causalMask(start, count);
  if (count > 1) {
    mask = ggml_new_tensor_2d(context, GGML_TYPE_F32, start + count, count);
    inputs.push_back({mask, causal.data()});
  }
  const std::vector<int64_t> asked = askedOrLast(slice.rows, count);
  const std::vector<int32_t> indices(asked.begin(), asked.end());
  ggml_tensor* index =
      ggml_new_tensor_1d(context, GGML_TYPE_I32, static_cast<int64_t>(asked.size()));
  inputs.push_back({index, indices.data()});
  StockOps ops(context, graph, h, &slice.session->cache(), start, mask, index);
  ggml_tensor* output = transformer(ops, weights_, input);
  compute(count <= kFewTokens ? fewTokens_ : manyTokens_, graph, inputs, output, out, cancelled);
}

void ForwardPass::logits(const float* hidden, int64_t count, bool several, float* out,
                         const CancelFlag* cancelled) {
  weights_.files().checkUnchanged();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  if (operators_ == OperatorSet::kFused) {
    FusedOps ops(context, h, {{nullptr, 0, count}}, {}, mostRows(several));
    compute(head_, graph, {{input, hidden}}, head(ops, weights_, input), out, cancelled);
  } else {
    StockOps ops(context, graph, h, nullptr, 0, nullptr, nullptr);
    compute(head_, graph, {{input, hidden}}, head(ops, weights_, input), out, cancelled);
  }
}

ggml_cgraph* ForwardPass::newGraph() {
  graphContext_.clear();
  return ggml_new_graph_custom(graphContext_.get(), nodeLimit_, false);
}

void ForwardPass::compute(AllocatorPtr& allocator, ggml_cgraph* graph,
                          const std::vector<Input>& inputs, ggml_tensor* output, float* out,
                          const CancelFlag* cancelled) {
  for (const Input& input : inputs) ggml_set_input(input.tensor);
  ggml_set_output(output);
  ggml_build_forward_expand(graph, output);
  device_.allocate(allocator, graph);
  for (const Input& input : inputs) {
    ggml_backend_tensor_set(input.tensor, input.data, 0, ggml_nbytes(input.tensor));
  }
  if (operators_ == OperatorSet::kFused) {
    device_.threadPool().run(FusedOps::stepsOf(graph), cancelled);
  } else {
    device_.compute(graph, cancelled);
  }
  ggml_backend_tensor_get(output, out, 0, ggml_nbytes(output));
}

size_t ForwardPass::byteSize() const noexcept {
  size_t activations = 0;
  for (const AllocatorPtr* allocator : {&fewTokens_, &manyTokens_, &head_}) {
    activations += ggml_gallocr_get_buffer_size(allocator->get(), 0);
  }
  return activations + graphContext_.byteSize() + hidden_.capacity() * sizeof(float);
}

}  // namespace gpt2
