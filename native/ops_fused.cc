#include "ops_fused.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cmath>

#include "kernels/matrix_product.h"
#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

// Of multiplyTile().
const int64_t kTileRows = tileRows();
const int64_t kTileColumns = tileColumns();

float* floats(const ggml_tensor* tensor) { return static_cast<float*>(tensor->data); }

Matrix matrixOf(const ggml_tensor* weight) {
  return {weight->data, weight->nb[1], weight->type, weight->ne[1], weight->ne[0]};
}

int64_t roundUp(int64_t number, int64_t multiple) {
  return (number + multiple - 1) / multiple * multiple;
}

int chunksOf(int64_t number, int64_t each) { return static_cast<int>((number + each - 1) / each); }

// ---- Norm

// A row per chunk for few tokens, else a tile of rows, which it leaves packed.
class NormStep final : public Step {
 public:
  NormStep(const ggml_tensor* x, const LayerNorm& norm, float epsilon, int64_t tokens, bool few,
           const ggml_tensor* y)
      : x_(x), norm_(norm), epsilon_(epsilon), tokens_(tokens), few_(few), y_(y) {}

  int chunks() const override { return chunksOf(tokens_, rowsPerChunk()); }
  size_t scratch() const override { return few_ ? 0 : static_cast<size_t>(kTileRows * x_->ne[0]); }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t width = x_->ne[0];
    const int64_t first = chunk * rowsPerChunk();
    const int64_t count = std::min(rowsPerChunk(), tokens_ - first);
    float* y = floats(y_) + first * width;
    float* rows = few_ ? y : scratch;
    for (int64_t i = 0; i < count; ++i) {
      normalize(floats(x_) + (first + i) * width, floats(norm_.weight),
                norm_.bias == nullptr ? nullptr : floats(norm_.bias), epsilon_, width,
                rows + i * width);
    }
    if (!few_) packRows(rows, static_cast<size_t>(width), count, width, y);
  }

 private:
  int64_t rowsPerChunk() const { return few_ ? 1 : kTileRows; }

  const ggml_tensor* x_;
  LayerNorm norm_;
  float epsilon_;
  int64_t tokens_;
  bool few_;
  const ggml_tensor* y_;
};

// ---- Linear

// Rows in the type that a quantised weight's dot product wants.
class QuantizeStep final : public Step {
 public:
  QuantizeStep(const ggml_tensor* x, ggml_type type, const ggml_tensor* y)
      : x_(x), type_(type), y_(y) {}

  int chunks() const override { return static_cast<int>(x_->ne[1]); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    const int64_t width = x_->ne[0];
    ggml_get_type_traits_cpu(type_)->from_float(
        floats(x_) + chunk * width,
        static_cast<uint8_t*>(y_->data) + static_cast<size_t>(chunk) * ggml_row_size(type_, width),
        width);
  }

 private:
  const ggml_tensor* x_;
  ggml_type type_;
  const ggml_tensor* y_;
};

class LinearStep : public Step {
 public:
  LinearStep(const ggml_tensor* x, const Linear& linear, Activation activation,
             const ggml_tensor* residual, int64_t tokens, const ggml_tensor* y)
      : x_(x),
        w_(matrixOf(linear.weight)),
        bias_(linear.bias),
        activation_(activation),
        residual_(residual),
        tokens_(tokens),
        y_(y) {}

 protected:
  // What follows the product, for outputs [first, first + count) of one token.
  void finishOutputs(const float* values, int64_t token, int64_t first, int64_t count,
                     float* y) const {
    finish(values, bias_ == nullptr ? nullptr : floats(bias_) + first,
           activation_ == Activation::kGelu,
           residual_ == nullptr ? nullptr : floats(residual_) + token * w_.rows + first, count, y);
  }

  const ggml_tensor* x_;
  Matrix w_;
  const ggml_tensor* bias_;
  Activation activation_;
  const ggml_tensor* residual_;
  int64_t tokens_;
  const ggml_tensor* y_;
};

class FewRowsLinearStep final : public LinearStep {
 public:
  using LinearStep::LinearStep;

  int chunks() const override { return chunksOf(w_.rows, kOutputs); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    const int64_t first = chunk * kOutputs;
    const int64_t count = std::min(kOutputs, w_.rows - first);
    float* y = floats(y_) + first;
    if (hasFewRowsProduct(w_.type)) {
      multiplyFew(w_, first, count, floats(x_), static_cast<size_t>(w_.columns),
                  static_cast<int>(tokens_), y, static_cast<size_t>(w_.rows));
    } else {
      multiplyQuantized(first, count, y);
    }
    for (int64_t token = 0; token < tokens_; ++token) {
      finishOutputs(y + token * w_.rows, token, first, count, y + token * w_.rows);
    }
  }

 private:
  // The outputs of a chunk: some microseconds of reading.
  static constexpr int64_t kOutputs = 64;

  void multiplyQuantized(int64_t first, int64_t count, float* y) const {
    const ggml_type_traits_cpu* traits = ggml_get_type_traits_cpu(w_.type);
    const size_t rowBytes = ggml_row_size(traits->vec_dot_type, w_.columns);
    for (int64_t j = 0; j < count; ++j) {
      const uint8_t* w =
          static_cast<const uint8_t*>(w_.data) + static_cast<size_t>(first + j) * w_.rowBytes;
      for (int64_t token = 0; token < tokens_; ++token) {
        const uint8_t* x =
            static_cast<const uint8_t*>(x_->data) + static_cast<size_t>(token) * rowBytes;
        traits->vec_dot(static_cast<int>(w_.columns), y + token * w_.rows + j, 0, w, 0, x, 0, 1);
      }
    }
  }
};

// One panel of the weights per chunk, for all tokens.
class ManyRowsLinearStep final : public LinearStep {
 public:
  ManyRowsLinearStep(const ggml_tensor* x, const Linear& linear, Activation activation,
                     const ggml_tensor* residual, int64_t tokens, bool packs, const ggml_tensor* y)
      : LinearStep(x, linear, activation, residual, tokens, y), packs_(packs) {}

  int chunks() const override { return chunksOf(w_.rows, kTileColumns); }
  size_t scratch() const override {
    const int64_t panel = w_.columns * kTileColumns;
    return static_cast<size_t>(panel + kTileRows * kTileColumns +
                               (hasFewRowsProduct(w_.type) ? 0 : panel));
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t first = chunk * kTileColumns;
    const int64_t count = std::min(kTileColumns, w_.rows - first);
    float* panel = scratch;
    float* tile = panel + w_.columns * kTileColumns;
    packPanel(w_, first, panel, tile + kTileRows * kTileColumns);
    for (int64_t token = 0; token < tokens_; token += kTileRows) {
      multiplyTile(floats(x_) + token * w_.columns, panel, w_.columns, tile);
      const int64_t rows = std::min(kTileRows, tokens_ - token);
      for (int64_t i = 0; i < rows; ++i) {
        float* values = tile + i * kTileColumns;
        finishOutputs(values, token + i, first, count,
                      packs_ ? values : floats(y_) + (token + i) * w_.rows + first);
      }
      // What is beyond the last token is 0 from the start: packed rows of 0, whose values nobody
      // reads.
      if (packs_) {
        float* packed = floats(y_) + token * w_.rows + first * kTileRows;
        for (int64_t j = 0; j < count; ++j) {
          for (int64_t i = 0; i < kTileRows; ++i) *packed++ = tile[i * kTileColumns + j];
        }
      }
    }
  }

 private:
  bool packs_;
};

// ---- Attention

// What the steps of attention have in common. qkv: [3 × width, tokens]: queries, keys, values, each
// [head size] × heads.
class AttentionPart {
 public:
  AttentionPart(const ggml_tensor* qkv, const ggml_tensor* keys, const ggml_tensor* values,
                const Hyperparameters& hyperparameters, int64_t start, int64_t tokens)
      : qkv_(qkv),
        keys_(keys),
        values_(values),
        width_(hyperparameters.embeddingLength),
        heads_(hyperparameters.headCount),
        headSize_(hyperparameters.headSize()),
        start_(start),
        tokens_(tokens) {}

 protected:
  const float* query(int64_t token, int64_t head) const {
    return floats(qkv_) + token * 3 * width_ + head * headSize_;
  }

  // Writes this pass's keys and values of a head to the cache.
  void storeKeysAndValues(int64_t head) const {
    for (int64_t token = 0; token < tokens_; ++token) {
      const float* key = query(token, head) + width_;
      const float* value = key + width_;
      const int64_t position = start_ + token;
      uint8_t* toKey = static_cast<uint8_t*>(keys_->data) +
                       static_cast<size_t>(position) * keys_->nb[1] +
                       static_cast<size_t>(head * headSize_) * keys_->nb[0];
      if (keys_->type == GGML_TYPE_F32) {
        std::copy_n(key, headSize_, reinterpret_cast<float*>(toKey));
      } else {
        ggml_cpu_fp32_to_fp16(key, reinterpret_cast<ggml_fp16_t*>(toKey), headSize_);
      }
      uint8_t* toValue = static_cast<uint8_t*>(values_->data) +
                         static_cast<size_t>(head * headSize_) * values_->nb[1] +
                         static_cast<size_t>(position) * values_->nb[0];
      for (int64_t i = 0; i < headSize_; ++i, toValue += values_->nb[1]) {
        if (values_->type == GGML_TYPE_F32) {
          *reinterpret_cast<float*>(toValue) = value[i];
        } else {
          ggml_cpu_fp32_to_fp16(value + i, reinterpret_cast<ggml_fp16_t*>(toValue), 1);
        }
      }
    }
  }

  // The first `positions` keys of a head, [positions, head size], and its values,
  // [head size, positions].
  Matrix keysOf(int64_t head, int64_t positions) const {
    return {static_cast<const uint8_t*>(keys_->data) +
                static_cast<size_t>(head * headSize_) * keys_->nb[0],
            keys_->nb[1], keys_->type, positions, headSize_};
  }
  Matrix valuesOf(int64_t head, int64_t positions) const {
    return {static_cast<const uint8_t*>(values_->data) +
                static_cast<size_t>(head * headSize_) * values_->nb[1],
            values_->nb[1], values_->type, headSize_, positions};
  }

  // Scores of a token to the weights with which it attends to itself and all before it; those of
  // later positions become 0.
  void weigh(float* scores, int64_t token, int64_t positions) const {
    const int64_t seen = start_ + token + 1;
    softmax(scores, 1 / std::sqrt(static_cast<float>(headSize_)), seen);
    std::fill(scores + seen, scores + positions, 0.0F);
  }

  const ggml_tensor* qkv_;
  const ggml_tensor* keys_;
  const ggml_tensor* values_;
  int64_t width_, heads_, headSize_, start_, tokens_;
};

// A head per chunk, from storing its keys and values to y: [width, tokens].
class FewRowsAttentionStep final : public Step, private AttentionPart {
 public:
  FewRowsAttentionStep(const AttentionPart& part, const ggml_tensor* y)
      : AttentionPart(part), y_(y) {}

  int chunks() const override { return static_cast<int>(heads_); }
  size_t scratch() const override { return static_cast<size_t>(tokens_ * (start_ + tokens_)); }
  void run(int chunk, float* scratch) const noexcept override {
    storeKeysAndValues(chunk);
    const int64_t positions = start_ + tokens_;
    const auto tokens = static_cast<int>(tokens_);
    multiplyFew(keysOf(chunk, positions), 0, positions, query(0, chunk),
                static_cast<size_t>(3 * width_), tokens, scratch, static_cast<size_t>(positions));
    for (int64_t i = 0; i < tokens_; ++i) weigh(scratch + i * positions, i, positions);
    multiplyFew(valuesOf(chunk, positions), 0, headSize_, scratch, static_cast<size_t>(positions),
                tokens, floats(y_) + chunk * headSize_, static_cast<size_t>(width_));
  }

 private:
  const ggml_tensor* y_;
};

// A head per chunk.
class StoreStep final : public Step, private AttentionPart {
 public:
  explicit StoreStep(const AttentionPart& part) : AttentionPart(part) {}
  int chunks() const override { return static_cast<int>(heads_); }
  void run(int chunk, float* /*scratch*/) const noexcept override { storeKeysAndValues(chunk); }
};

// A head and some tiles of tokens per chunk; leaves y packed.
class ManyRowsAttentionStep final : public Step, private AttentionPart {
 public:
  ManyRowsAttentionStep(const AttentionPart& part, const ggml_tensor* y)
      : AttentionPart(part), y_(y) {}

  int chunks() const override { return static_cast<int>(heads_) * tileGroups(); }

  size_t scratch() const override {
    const int64_t positions = roundUp(start_ + tokens_, kTileColumns);
    return static_cast<size_t>(positions * headSize_ +                         // keys
                               positions * roundUp(headSize_, kTileColumns) +  // values
                               2 * positions * kTileRows +                     // scores
                               kTileRows * headSize_ + kTileRows * kTileColumns);
  }

  void run(int chunk, float* scratch) const noexcept override {
    const int64_t head = chunk / tileGroups();
    const int64_t begin = chunk % tileGroups() * kTilesPerChunk * kTileRows;
    const int64_t end = std::min(begin + kTilesPerChunk * kTileRows, tokens_);
    const int64_t positions = start_ + end;
    const int64_t stride = roundUp(positions, kTileColumns);

    float* keyPanels = scratch;  // [stride / kTileColumns][head size][kTileColumns]
    float* valuePanels = keyPanels + stride * headSize_;  // [⌈head size⌉ …][positions][…]
    float* scores = valuePanels + stride * roundUp(headSize_, kTileColumns);  // [tile, stride]
    float* weights = scores + stride * kTileRows;                             // packed
    float* queries = weights + stride * kTileRows;                            // packed
    float* tile = queries + kTileRows * headSize_;

    const Matrix keys = keysOf(head, positions);
    const Matrix values = valuesOf(head, positions);
    for (int64_t p = 0; p < positions; p += kTileColumns) {
      packPanel(keys, p, keyPanels + p * headSize_, nullptr);
    }
    for (int64_t d = 0; d < headSize_; d += kTileColumns) {
      packPanel(values, d, valuePanels + d * positions, nullptr);
    }
    for (int64_t token = begin; token < end; token += kTileRows) {
      const int64_t rows = std::min(kTileRows, end - token);
      const int64_t seen = start_ + token + rows;
      packRows(query(token, head), static_cast<size_t>(3 * width_), rows, headSize_, queries);
      for (int64_t p = 0; p < seen; p += kTileColumns) {
        multiplyTile(queries, keyPanels + p * headSize_, headSize_, tile);
        for (int64_t i = 0; i < rows; ++i) {
          std::copy_n(tile + i * kTileColumns, kTileColumns, scores + i * stride + p);
        }
      }
      for (int64_t i = 0; i < rows; ++i) weigh(scores + i * stride, token + i, seen);
      packRows(scores, static_cast<size_t>(stride), rows, seen, weights);
      for (int64_t d = 0; d < headSize_; d += kTileColumns) {
        multiplyTile(weights, valuePanels + d * positions, seen, tile);
        const int64_t count = std::min(kTileColumns, headSize_ - d);
        float* packed = floats(y_) + token * width_ + (head * headSize_ + d) * kTileRows;
        for (int64_t j = 0; j < count; ++j) {
          for (int64_t i = 0; i < kTileRows; ++i) *packed++ = tile[i * kTileColumns + j];
        }
      }
    }
  }

 private:
  // Tiles of tokens that share the packing of keys and values.
  static constexpr int64_t kTilesPerChunk = 8;

  int tileGroups() const { return chunksOf(tokens_, kTilesPerChunk * kTileRows); }

  const ggml_tensor* y_;
};

}  // namespace

FusedOps::FusedOps(ggml_context* context, const Hyperparameters& hyperparameters,
                   const KvCache* cache, int64_t start, int64_t tokens)
    : context_(context),
      hyperparameters_(hyperparameters),
      cache_(cache),
      start_(start),
      tokens_(tokens),
      few_(tokens <= kFewRows) {}

FusedOps::~FusedOps() = default;

ggml_tensor* FusedOps::norm(ggml_tensor* x, const LayerNorm& norm) {
  ggml_tensor* y = rows(x->ne[0], !few_, {x});
  setStep(y,
          std::make_unique<NormStep>(x, norm, hyperparameters_.layerNormEpsilon, tokens_, few_, y));
  return y;
}

ggml_tensor* FusedOps::linear(ggml_tensor* x, const Linear& linear, Activation activation,
                              ggml_tensor* residual) {
  const int64_t out = linear.weight->ne[1];
  std::vector<ggml_tensor*> from{x};
  if (residual != nullptr) from.push_back(residual);
  if (few_) {
    if (!hasFewRowsProduct(linear.weight->type)) {
      from[0] = x = quantized(x, ggml_get_type_traits_cpu(linear.weight->type)->vec_dot_type);
    }
    ggml_tensor* y = rows(out, false, from);
    setStep(y, std::make_unique<FewRowsLinearStep>(x, linear, activation, residual, tokens_, y));
    return y;
  }
  // In GPT-2, what has an activation is read by the next linear layer only.
  const bool packs = activation != Activation::kNone;
  ggml_tensor* y = rows(out, packs, from);
  setStep(y,
          std::make_unique<ManyRowsLinearStep>(x, linear, activation, residual, tokens_, packs, y));
  return y;
}

ggml_tensor* FusedOps::attention(ggml_tensor* qkv, size_t layer) {
  const AttentionPart part(qkv, cache_->allKeys(layer), cache_->allValues(layer), hyperparameters_,
                           start_, tokens_);
  const int64_t width = hyperparameters_.embeddingLength;
  if (few_) {
    ggml_tensor* y = rows(width, false, {qkv});
    setStep(y, std::make_unique<FewRowsAttentionStep>(part, y));
    return y;
  }
  ggml_tensor* stored = rows(1, false, {qkv});
  setStep(stored, std::make_unique<StoreStep>(part));
  ggml_tensor* y = rows(width, true, {qkv, stored});
  setStep(y, std::make_unique<ManyRowsAttentionStep>(part, y));
  return y;
}

ggml_tensor* FusedOps::rows(int64_t columns, bool packed, std::vector<ggml_tensor*> from) {
  const int64_t count = packed ? roundUp(tokens_, kTileRows) : tokens_;
  const auto never = [](ggml_tensor*, int, int, void*) {};  // ggml's executor does not run it
  return ggml_custom_4d(context_, GGML_TYPE_F32, columns, count, 1, 1, from.data(),
                        static_cast<int>(from.size()), never, 1, nullptr);
}

ggml_tensor* FusedOps::quantized(ggml_tensor* x, ggml_type type) {
  const auto bytes = static_cast<int64_t>(ggml_row_size(type, x->ne[0])) * tokens_;
  const auto floatCount = roundUp(bytes, sizeof(float)) / static_cast<int64_t>(sizeof(float));
  const auto never = [](ggml_tensor*, int, int, void*) {};
  ggml_tensor* y =
      ggml_custom_4d(context_, GGML_TYPE_F32, floatCount, 1, 1, 1, &x, 1, never, 1, nullptr);
  setStep(y, std::make_unique<QuantizeStep>(x, type, y));
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
  }
  return steps;
}

}  // namespace gpt2
