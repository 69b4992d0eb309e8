#include "model/forward_pass.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/quantized_product.h"
#include "ops/fused_ops.h"
#include "ops/stock_ops.h"

namespace gpt2 {

namespace {

// At least the nodes and views that StockOps makes for a layer, and for the input and the head.
constexpr size_t kNodesPerLayer = 80;
constexpr size_t kNodesPerBlock = 8;
constexpr size_t kExtraNodes = 16;

size_t maxNodes(const Weights& weights) {
  const auto blocks =
      static_cast<size_t>(weights.hyperparameters().contextLength / KvBlock::kPositions + 1);
  return kNodesPerLayer * weights.layers().size() + kNodesPerBlock * blocks + kExtraNodes;
}

// 0 where a token may attend, to itself and all earlier positions, and −∞ elsewhere. For `count`
// tokens from position `start` on: [start + count, count].
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

bool isOfIntegers(const Linear& linear) { return isIntegerType(linear.weight->type); }

bool anyIsOfIntegers(const Weights& weights) {
  return isOfIntegers(weights.head()) ||
         std::any_of(weights.layers().begin(), weights.layers().end(), [](const Layer& layer) {
           return isOfIntegers(layer.attentionQkv) || isOfIntegers(layer.attentionOutput) ||
                  isOfIntegers(layer.feedForwardUp) || isOfIntegers(layer.feedForwardDown);
         });
}

ResidualCopies copiesFor(const std::vector<BatchEntry>& batch) {
  ResidualCopies copies;
  for (const BatchEntry& entry : batch) {
    if (entry.output == OutputKind::kResidual) copies[entry.layers] = nullptr;
  }
  return copies;
}

// Replaces the rows of entries whose output is the residual stream. out: [width, output rows]
void readCopies(const std::vector<BatchEntry>& batch, const ResidualCopies& copies, float* out) {
  size_t row = 0;
  for (const BatchEntry& entry : batch) {
    const size_t rows = entry.outputRows.size();
    if (entry.output == OutputKind::kResidual && rows > 0) {
      const ggml_tensor* copy = copies.at(entry.layers);
      const size_t begin = row * copy->nb[1];
      ggml_backend_tensor_get(copy, out + row * static_cast<size_t>(copy->ne[0]), begin,
                              rows * copy->nb[1]);
    }
    row += rows;
  }
}

// A graph needs an output: the last token if there are no output rows.
std::vector<int64_t> rowsOrLast(const std::vector<int64_t>& rows, int64_t count) {
  return rows.empty() ? std::vector<int64_t>{count - 1} : rows;
}

}  // namespace

ForwardPass::ForwardPass(const Weights& weights, Device& device, OperatorSet operators)
    : weights_(weights),
      device_(device),
      operators_(device.isCpu() ? operators : OperatorSet::kStock),
      packsActivations_(!anyIsOfIntegers(weights)),
      nodeLimit_(maxNodes(weights)),
      graphContext_(nodeLimit_, nodeLimit_),
      decodeAllocator_(device.makeAllocator()),
      prefillAllocator_(device.makeAllocator()),
      headAllocator_(device.makeAllocator()) {}

const float* ForwardPass::run(const std::vector<BatchEntry>& batch, const CancelFlag* cancelled) {
  weights_.files().checkUnchanged();
  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  size_t rows = 0;
  for (const BatchEntry& entry : batch) rows += entry.outputRows.size();
  hidden_.resize((rows + 1) * width);  // one more for the output of rowsOrLast()
  if (operators_ == OperatorSet::kFused) {
    runFused(batch, hidden_.data(), cancelled);
  } else {
    runStock(batch[0], hidden_.data(), cancelled);
  }
  for (const BatchEntry& entry : batch) entry.session->cache().advance(entry.count);
  return hidden_.data();
}

// The rows are looked up and added on the host, which works for any type of table. ggml's lookup
// would end the process if an index were out of range.
const float* ForwardPass::embed(const std::vector<BatchEntry>& batch) {
  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  size_t tokens = 1;  // and one for the position
  for (const BatchEntry& entry : batch) tokens += static_cast<size_t>(entry.count);
  if (embeddings_.size() < tokens * width) embeddings_.resize(tokens * width);
  float* position = embeddings_.data();
  float* row = position;
  for (const BatchEntry& entry : batch) {
    const int64_t start = entry.session->evaluated();
    for (int64_t i = start; i < start + entry.count; ++i) {
      row += width;
      weights_.tokenEmbedding().copyRow(entry.session->tokens()[static_cast<size_t>(i)], row);
      weights_.positionEmbedding().copyRow(i, position);
      for (size_t j = 0; j < width; ++j) row[j] += position[j];
    }
  }
  return position + width;
}

void ForwardPass::runFused(const std::vector<BatchEntry>& batch, float* out,
                           const CancelFlag* cancelled) {
  std::vector<CacheSpan> spans;
  std::vector<int64_t> outputRows;
  int64_t tokens = 0;
  for (const BatchEntry& entry : batch) {
    spans.push_back({&entry.session->cache(), entry.session->evaluated(), entry.count});
    for (const int64_t row : entry.outputRows) outputRows.push_back(tokens + row);
    tokens += entry.count;
  }
  const float* embeddings = embed(batch);
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, tokens);
  FusedOps ops(context, h.attention(), std::move(spans), rowsOrLast(outputRows, tokens),
               packsActivations_);
  ResidualCopies copies = copiesFor(batch);
  ggml_tensor* output = transformer(ops, weights_, input, copies);
  compute(allocatorFor(tokens), graph, {{input, embeddings}}, output, copies, cancelled);
  ggml_backend_tensor_get(output, out, 0, ggml_nbytes(output));
  readCopies(batch, copies, out);
}

void ForwardPass::runStock(const BatchEntry& entry, float* out, const CancelFlag* cancelled) {
  const int64_t start = entry.session->evaluated();
  const int64_t count = entry.count;
  const float* embeddings = embed({entry});
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  std::vector<Input> inputs{{input, embeddings}};
  ggml_tensor* mask = nullptr;
  const std::vector<float> causal = causalMask(start, count);
  if (count > 1) {
    mask = ggml_new_tensor_2d(context, GGML_TYPE_F32, start + count, count);
    inputs.push_back({mask, causal.data()});
  }
  const std::vector<int64_t> rows = rowsOrLast(entry.outputRows, count);
  const std::vector<int32_t> indices(rows.begin(), rows.end());
  ggml_tensor* outputRows =
      ggml_new_tensor_1d(context, GGML_TYPE_I32, static_cast<int64_t>(indices.size()));
  inputs.push_back({outputRows, indices.data()});
  StockOps ops(context, graph, h.attention(), &entry.session->cache(), start, mask, outputRows);
  ResidualCopies copies = copiesFor({entry});
  ggml_tensor* output = transformer(ops, weights_, input, copies);
  compute(allocatorFor(count), graph, inputs, output, copies, cancelled);
  ggml_backend_tensor_get(output, out, 0, ggml_nbytes(output));
  readCopies({entry}, copies, out);
}

const float* ForwardPass::outputs(const float* hidden, int64_t count, OutputKind kind,
                                  const CancelFlag* cancelled) {
  weights_.files().checkUnchanged();
  if (kind == OutputKind::kResidual) return hidden;
  const Hyperparameters& h = weights_.hyperparameters();
  ggml_cgraph* graph = newGraph();
  ggml_context* context = graphContext_.get();
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, h.embeddingLength, count);
  ggml_tensor* output = nullptr;
  const auto computeWith = [&](Ops& ops) {
    output =
        kind == OutputKind::kLogits ? head(ops, weights_, input) : finalNorm(ops, weights_, input);
    compute(headAllocator_, graph, {{input, hidden}}, output, {}, cancelled);
  };
  if (operators_ == OperatorSet::kFused) {
    const bool packs = packsActivations_ && kind == OutputKind::kLogits;
    FusedOps ops(context, h.attention(), {{nullptr, 0, count}}, {}, packs);
    computeWith(ops);
  } else {
    StockOps ops(context, graph, h.attention(), nullptr, 0, nullptr, nullptr);
    computeWith(ops);
  }
  if (ggml_backend_buffer_is_host(output->buffer)) return static_cast<const float*>(output->data);
  rows_.resize(static_cast<size_t>(ggml_nelements(output)));
  ggml_backend_tensor_get(output, rows_.data(), 0, ggml_nbytes(output));
  return rows_.data();
}

AllocatorPtr& ForwardPass::allocatorFor(int64_t tokens) {
  return tokens <= kMaxDecodeTokens ? decodeAllocator_ : prefillAllocator_;
}

ggml_cgraph* ForwardPass::newGraph() {
  graphContext_.clear();
  return ggml_new_graph_custom(graphContext_.get(), nodeLimit_, false);
}

void ForwardPass::compute(AllocatorPtr& allocator, ggml_cgraph* graph,
                          const std::vector<Input>& inputs, ggml_tensor* output,
                          const ResidualCopies& copies, const CancelFlag* cancelled) {
  for (const Input& input : inputs) ggml_set_input(input.tensor);
  for (const auto& [layers, copy] : copies) {
    ggml_set_output(copy);
    ggml_build_forward_expand(graph, copy);
  }
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
}

size_t ForwardPass::byteSize() const noexcept {
  size_t activations = 0;
  for (const AllocatorPtr* allocator : {&decodeAllocator_, &prefillAllocator_, &headAllocator_}) {
    activations += ggml_gallocr_get_buffer_size(allocator->get(), 0);
  }
  return activations + graphContext_.byteSize() +
         (hidden_.capacity() + embeddings_.capacity() + rows_.capacity()) * sizeof(float);
}

}  // namespace gpt2
