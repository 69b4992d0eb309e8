#include "ops/fused_ops.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels/matrix_product.h"
#include "kernels/quantized_product.h"
#include "ops/attention_steps.h"
#include "ops/linear_steps.h"
#include "ops/row_steps.h"
#include "ops/step_helpers.h"

namespace gpt2 {

namespace {

// A linear layer with weights in floats packs them for more tokens than this. Packing pays from
// about 12 rows on (docs/performance.md).
constexpr int64_t kMaxUnpackedRows = 8;

}  // namespace

FusedOps::FusedOps(ggml_context* context, const AttentionShape& shape, std::vector<CacheSpan> spans,
                   std::vector<int64_t> outputRows, bool packsActivations)
    : context_(context),
      shape_(shape),
      spans_(std::move(spans)),
      outputRows_(std::move(outputRows)),
      packsActivations_(packsActivations) {
  for (const CacheSpan& span : spans_) tokens_ += span.count;
}

FusedOps::~FusedOps() = default;

bool FusedOps::isPacked(int64_t rows) const { return packsActivations_ && rows > kMaxUnpackedRows; }

ggml_tensor* FusedOps::norm(ggml_tensor* x, const LayerNorm& norm) {
  const bool packsOutput = isPacked(tokens_);
  ggml_tensor* y = makeNode(x->ne[0], tokens_, packsOutput, {x});
  setStep(y, makeNormStep(x, norm, tokens_, packsOutput, y));
  return y;
}

ggml_tensor* FusedOps::linear(ggml_tensor* x, const Linear& linear, Activation activation,
                              ggml_tensor* residual) {
  const int64_t out = linear.weight->ne[1];
  if (isIntegerType(linear.weight->type)) {
    x = round(x);
    ggml_tensor* y = makeNode(out, tokens_, false, {x, residual});
    setStep(y, makeRoundedLinearStep({x, linear, activation, residual, tokens_, y}));
    return y;
  }
  if (tokens_ <= kMaxUnpackedRows) {
    ggml_tensor* y = makeNode(out, tokens_, false, {x, residual});
    setStep(y, makeRowsLinearStep({x, linear, activation, residual, tokens_, y}));
    return y;
  }
  if (!packsActivations_) x = pack(x);
  // In GPT-2 the output of an activation is read by the next linear layer only.
  const bool packsOutput = packsActivations_ && activation != Activation::kNone;
  ggml_tensor* y = makeNode(out, tokens_, packsOutput, {x, residual});
  setStep(y, makePackedLinearStep({x, linear, activation, residual, tokens_, y}, packsOutput));
  return y;
}

ggml_tensor* FusedOps::attention(ggml_tensor* qkv, size_t layer, Rows rows) {
  const AttentionInput input{qkv, shape_, layer, spans_};
  AttentionOutput output{nullptr, outputRows_, false};
  if (rows == Rows::kAll) {
    output.rows.resize(static_cast<size_t>(tokens_));
    std::iota(output.rows.begin(), output.rows.end(), 0);
  }
  const auto count = static_cast<int64_t>(output.rows.size());
  output.isPacked = isPacked(count);
  ggml_tensor* stored = nullptr;
  if (hasLongSpans(input)) {
    stored = makeNode(1, 1, false, {qkv});
    setStep(stored, makeStoreStep(input));
  }
  ggml_tensor* y = makeNode(shape_.width, count, output.isPacked, {qkv, stored});
  output.y = y;
  setStep(y, makeAttentionStep(input, std::move(output)));
  return y;
}

ggml_tensor* FusedOps::selectOutputRows(ggml_tensor* x) {
  tokens_ = static_cast<int64_t>(outputRows_.size());
  return copyOutputRows(x);
}

ggml_tensor* FusedOps::copyOutputRows(ggml_tensor* x) {
  ggml_tensor* y = makeNode(x->ne[0], static_cast<int64_t>(outputRows_.size()), false, {x});
  setStep(y, makeSelectRowsStep(x, outputRows_, y));
  return y;
}

ggml_tensor* FusedOps::makeNode(int64_t columns, int64_t rows, bool packed,
                                std::vector<ggml_tensor*> sources) {
  sources.erase(std::remove(sources.begin(), sources.end(), nullptr), sources.end());
  const auto unused = [](ggml_tensor*, int, int, void*) {};  // ggml does not compute this graph
  return ggml_custom_4d(context_, GGML_TYPE_F32, columns, packed ? roundUp(rows, tileRows()) : rows,
                        1, 1, sources.data(), static_cast<int>(sources.size()), unused, 1, nullptr);
}

ggml_tensor* FusedOps::round(ggml_tensor* x) {
  const auto bytes = static_cast<int64_t>(roundedRowBytes(x->ne[0])) * tokens_;
  constexpr int64_t kFloatBytes = sizeof(float);
  ggml_tensor* y = makeNode(roundUp(bytes, kFloatBytes) / kFloatBytes, 1, false, {x});
  setStep(y, makeRoundStep(x, tokens_, y));
  return y;
}

ggml_tensor* FusedOps::pack(ggml_tensor* x) {
  ggml_tensor* y = makeNode(x->ne[0], tokens_, true, {x});
  setStep(y, makePackStep(x, tokens_, y));
  return y;
}

void FusedOps::setStep(ggml_tensor* node, std::unique_ptr<Step> step) {
  node->extra = step.get();
  steps_.push_back(std::move(step));
}

std::vector<const Step*> FusedOps::stepsOf(ggml_cgraph* graph) {
  std::vector<const Step*> steps(static_cast<size_t>(ggml_graph_n_nodes(graph)));
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i] = static_cast<const Step*>(ggml_graph_node(graph, static_cast<int>(i))->extra);
    if (steps[i] == nullptr) throw Error(code::kInternal, "the graph has a node without a step");
  }
  return steps;
}

}  // namespace gpt2
