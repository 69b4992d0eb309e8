#include "forward_pass.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "kernels/matrix_product.h"
#include "ops_fused.h"
#include "ops_stock.h"
#include "transformer.h"

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

}  // namespace

ForwardPass::ForwardPass(const Weights& weights, Device& device, OperatorSet operators)
    : weights_(weights),
      device_(device),
      operators_(device.isCpu() ? operators : OperatorSet::kStock),
      nodeLimit_(kNodesPerLayer * weights.layers().size() + kNodesBeside),
      graphContext_(nodeLimit_, nodeLimit_),
      fewTokens_(device.makeAllocator()),
      manyTokens_(device.makeAllocator()),
      head_(device.makeAllocator()) {}

const float* ForwardPass::run(Session& session, int64_t count, const std::vector<int64_t>& rows,
                              const CancelFlag* cancelled) {
  const Hyperparameters& h = weights_.hyperparameters();
  const auto width = static_cast<size_t>(h.embeddingLength);
  const int64_t start = session.evaluated();
  weights_.file().bytes().checkUnchanged();

  // Token and position rows are added on the host: any type of table, and no lookup inside ggml
  // that would end the process on an index out of range.
  std::vector<float> embeddings(width * static_cast<size_t>(count));
  std::vector<float> position(width);
  for (int64_t i = 0; i < count; ++i) {
    float* row = embeddings.data() + static_cast<size_t>(i) * width;
    weights_.tokenEmbedding().copyRow(session.tokens()[static_cast<size_t>(start + i)], row);
    weights_.positionEmbedding().copyRow(start + i, position.data());
    for (size_t j = 0; j < width; ++j) row[j] += position[j];
  }

  // The graph needs an end; where nobody asks for any, it is the last.
  const std::vector<int64_t> asked = rows.empty() ? std::vector<int64_t>{count - 1} : rows;
  hidden_.resize(width * asked.size());
  AllocatorPtr& allocator = count <= kFewRows ? fewTokens_ : manyTokens_;
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  if (operators_ == OperatorSet::kFused) {
    FusedOps ops(context, h, &session.cache(), start, count, asked);
    ggml_tensor* output = transformer(ops, weights_, input);
    compute(allocator, graph, {{input, embeddings.data()}}, output, hidden_.data(), cancelled);
  } else {
    std::vector<Input> inputs{{input, embeddings.data()}};
    ggml_tensor* mask = nullptr;
    const std::vector<float> causal = causalMask(start, count);
    if (count > 1) {
      mask = ggml_new_tensor_2d(context, GGML_TYPE_F32, start + count, count);
      inputs.push_back({mask, causal.data()});
    }
    const std::vector<int32_t> indices(asked.begin(), asked.end());
    ggml_tensor* index =
        ggml_new_tensor_1d(context, GGML_TYPE_I32, static_cast<int64_t>(asked.size()));
    inputs.push_back({index, indices.data()});
    StockOps ops(context, graph, h, &session.cache(), start, mask, index);
    ggml_tensor* output = transformer(ops, weights_, input);
    compute(allocator, graph, inputs, output, hidden_.data(), cancelled);
  }
  session.markEvaluated(start + count);
  return hidden_.data();
}

void ForwardPass::logits(const float* hidden, int64_t count, float* out,
                         const CancelFlag* cancelled) {
  weights_.file().bytes().checkUnchanged();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  if (operators_ == OperatorSet::kFused) {
    FusedOps ops(context, h, nullptr, 0, count, {});
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
    device_.executor().run(FusedOps::stepsOf(graph), cancelled);
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
