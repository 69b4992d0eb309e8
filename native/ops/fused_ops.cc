#include "ops/fused_ops.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernels/matrix_product.h"
#include "kernels/row_functions.h"
#include "kernels/transpose.h"

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

// A row per chunk, or a tile of rows, which it leaves packed.
class NormStep final : public Step {
 public:
  NormStep(const ggml_tensor* x, const LayerNorm& norm, float epsilon, int64_t tokens, bool packs,
           const ggml_tensor* y)
      : x_(x), norm_(norm), epsilon_(epsilon), tokens_(tokens), packs_(packs), y_(y) {}

  std::string name() const override { return "norm"; }
  int chunks() const override { return chunksOf(tokens_, rowsPerChunk()); }
  size_t scratch() const override {
    return packs_ ? static_cast<size_t>(kTileRows * x_->ne[0]) : 0;
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t width = x_->ne[0];
    const int64_t first = chunk * rowsPerChunk();
    const int64_t count = std::min(rowsPerChunk(), tokens_ - first);
    float* y = floats(y_) + first * width;
    float* rows = packs_ ? scratch : y;
    for (int64_t i = 0; i < count; ++i) {
      normalize(floats(x_) + (first + i) * width, floats(norm_.weight),
                norm_.bias == nullptr ? nullptr : floats(norm_.bias), epsilon_, width,
                rows + i * width);
    }
    if (packs_) packTiles(rows, static_cast<size_t>(width), count, width, SumOrder::kByLane, y);
  }

 private:
  int64_t rowsPerChunk() const { return packs_ ? kTileRows : 1; }

  const ggml_tensor* x_;
  LayerNorm norm_;
  float epsilon_;
  int64_t tokens_;
  bool packs_;
  const ggml_tensor* y_;
};

// ---- Linear

// Rows in the type that a quantised weight's dot product wants.
class QuantizeStep final : public Step {
 public:
  QuantizeStep(const ggml_tensor* x, ggml_type type, const ggml_tensor* y)
      : x_(x), type_(type), y_(y) {}

  std::string name() const override { return "quantize"; }
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

  std::string name() const override {
    return "linear " + std::to_string(w_.columns) + " to " + std::to_string(w_.rows);
  }

 protected:
  // What follows the product, for outputs [first, first + count) of one token.
  void finishOutputs(const float* values, int64_t token, int64_t first, int64_t count,
                     float* y) const {
    applyEpilogue(values, bias_ == nullptr ? nullptr : floats(bias_) + first,
                  activation_ == Activation::kGelu,
                  residual_ == nullptr ? nullptr : floats(residual_) + token * w_.rows + first,
                  count, y);
  }

  const ggml_tensor* x_;
  Matrix w_;
  const ggml_tensor* bias_;
  Activation activation_;
  const ggml_tensor* residual_;
  int64_t tokens_;
  const ggml_tensor* y_;
};

// Some outputs per chunk, for all tokens: the weights are read from where they lie.
class RowsLinearStep final : public LinearStep {
 public:
  using LinearStep::LinearStep;

  int chunks() const override { return chunksOf(w_.rows, kOutputs); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    const int64_t first = chunk * kOutputs;
    const int64_t count = std::min(kOutputs, w_.rows - first);
    float* y = floats(y_) + first;
    if (isFloatType(w_.type)) {
      for (int64_t token = 0; token < tokens_; token += kMaxRowsPerCall) {
        multiplyRows(w_, first, count, floats(x_) + token * w_.columns,
                     static_cast<size_t>(w_.columns),
                     static_cast<int>(std::min<int64_t>(tokens_ - token, kMaxRowsPerCall)),
                     y + token * w_.rows, static_cast<size_t>(w_.rows));
      }
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
class PackedLinearStep final : public LinearStep {
 public:
  PackedLinearStep(const ggml_tensor* x, const Linear& linear, Activation activation,
                   const ggml_tensor* residual, int64_t tokens, bool packs, const ggml_tensor* y)
      : LinearStep(x, linear, activation, residual, tokens, y), packs_(packs) {}

  int chunks() const override { return chunksOf(w_.rows, kTileColumns); }
  size_t scratch() const override {
    const int64_t panel = w_.columns * kTileColumns;
    return static_cast<size_t>(panel + kTileRows * kTileColumns +
                               (isFloatType(w_.type) ? 0 : panel));
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t first = chunk * kTileColumns;
    const int64_t count = std::min(kTileColumns, w_.rows - first);
    float* panel = scratch;
    float* tile = panel + w_.columns * kTileColumns;
    packRows(w_, first, panel, tile + kTileRows * kTileColumns);
    for (int64_t token = 0; token < tokens_; token += kTileRows) {
      const int64_t rows = std::min(kTileRows, tokens_ - token);
      multiplyTile(floats(x_) + token * w_.columns, panel, w_.columns, rows, SumOrder::kByLane,
                   tile);
      for (int64_t i = 0; i < rows; ++i) {
        float* values = tile + i * kTileColumns;
        finishOutputs(values, token + i, first, count,
                      packs_ ? values : floats(y_) + (token + i) * w_.rows + first);
      }
      // What is beyond the last token may be anything: nobody reads it.
      if (packs_) {
        for (int64_t j = 0; j < count; ++j) {
          float* packed = floats(y_) + token * w_.rows +
                          packedIndex(first + j, w_.rows, SumOrder::kByLane) * kTileRows;
          for (int64_t i = 0; i < kTileRows; ++i) packed[i] = tile[i * kTileColumns + j];
        }
      }
    }
  }

 private:
  bool packs_;
};

// ---- Attention

// Numbers to the type of the cache.
void store(const float* from, int64_t count, ggml_type type, void* to) {
  if (type == GGML_TYPE_F32) {
    std::copy_n(from, count, static_cast<float*>(to));
  } else {
    ggml_cpu_fp32_to_fp16(from, static_cast<ggml_fp16_t*>(to), count);
  }
}

// Numbers that lie side by side, to places `stride` bytes apart.
template <class Element>
void scatter(const void* from, int64_t count, uint8_t* to, size_t stride) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + static_cast<size_t>(i) * stride, static_cast<const Element*>(from) + i,
                sizeof(Element));
  }
}

// What the steps of attention have in common, for one sequence. qkv: [3 × width, tokens of all
// sequences]: queries, keys, values, each [head size] × heads; `first` is this sequence's first
// token.
class AttentionPart {
 public:
  AttentionPart(const ggml_tensor* qkv, int64_t first, const Sequence& sequence, size_t layer,
                const Hyperparameters& hyperparameters)
      : qkv_(qkv),
        first_(first),
        keys_(sequence.cache->byNumber(layer)),
        values_(sequence.cache->byPosition(layer)),
        width_(hyperparameters.embeddingLength),
        heads_(hyperparameters.headCount),
        headSize_(hyperparameters.headSize()),
        start_(sequence.start),
        tokens_(sequence.tokens) {}

  int64_t heads() const { return heads_; }
  int64_t headSize() const { return headSize_; }
  int64_t first() const { return first_; }
  int64_t tokens() const { return tokens_; }
  int64_t positions() const { return start_ + tokens_; }

  const float* query(int64_t token, int64_t head) const {
    return floats(qkv_) + (first_ + token) * 3 * width_ + head * headSize_;
  }

  // Writes this pass's keys and values of a head to the cache. scratch: storeScratch() floats.
  void storeKeysAndValues(int64_t head, float* scratch) const {
    if (tokens_ == 1) {
      storeKey(head, scratch);
    } else {
      storeKeys(head, scratch);
    }
    for (int64_t token = 0; token < tokens_; ++token) {
      uint8_t* row = static_cast<uint8_t*>(values_->data) +
                     static_cast<size_t>(start_ + token) * values_->nb[1] +
                     static_cast<size_t>(head * headSize_) * values_->nb[0];
      store(query(token, head) + 2 * width_, headSize_, values_->type, row);
    }
  }
  size_t storeScratch() const { return static_cast<size_t>(headSize_ * kStoredTogether); }

  // The first `positions` keys of a head, [head size, positions], and its values,
  // [positions, head size]: rows that scores and results are sums of.
  Matrix keysOf(int64_t head, int64_t positions) const {
    return {static_cast<const uint8_t*>(keys_->data) +
                static_cast<size_t>(head * headSize_) * keys_->nb[1],
            keys_->nb[1], keys_->type, headSize_, positions};
  }
  Matrix valuesOf(int64_t head, int64_t positions) const {
    return {static_cast<const uint8_t*>(values_->data) +
                static_cast<size_t>(head * headSize_) * values_->nb[0],
            values_->nb[1], values_->type, positions, headSize_};
  }

  // Scores of a token to the weights with which it attends to itself and all before it.
  void weigh(float* scores, int64_t token) const {
    softmax(scores, 1 / std::sqrt(static_cast<float>(headSize_)), start_ + token + 1);
  }

 private:
  // By number: a row each.
  void storeKeys(int64_t head, float* scratch) const {
    for (int64_t token = 0; token < tokens_; token += kStoredTogether) {
      const int64_t count = std::min(kStoredTogether, tokens_ - token);
      transpose(query(token, head) + width_, static_cast<size_t>(3 * width_), count, headSize_,
                scratch, kStoredTogether);
      for (int64_t i = 0; i < headSize_; ++i) {
        store(scratch + i * kStoredTogether, count, keys_->type,
              keyRow(head * headSize_ + i, token));
      }
    }
  }

  // The numbers of one token are rounded together, and not row by row.
  void storeKey(int64_t head, float* scratch) const {
    store(query(0, head) + width_, headSize_, keys_->type, scratch);
    uint8_t* first = keyRow(head * headSize_, 0);
    if (keys_->type == GGML_TYPE_F32) {
      scatter<float>(scratch, headSize_, first, keys_->nb[1]);
    } else {
      scatter<ggml_fp16_t>(scratch, headSize_, first, keys_->nb[1]);
    }
  }

  uint8_t* keyRow(int64_t number, int64_t token) const {
    return static_cast<uint8_t*>(keys_->data) + static_cast<size_t>(number) * keys_->nb[1] +
           static_cast<size_t>(start_ + token) * keys_->nb[0];
  }

 protected:
  static constexpr int64_t kStoredTogether = 64;

  const ggml_tensor* qkv_;
  int64_t first_;
  const ggml_tensor* keys_;
  const ggml_tensor* values_;
  int64_t width_, heads_, headSize_, start_, tokens_;
};

// The result of attention: rows as they are, or packed. y: [width, rows]
struct AttentionResult {
  // Numbers `place` to `place` + count of `row`.
  void set(int64_t row, int64_t place, const float* values, int64_t count) const {
    if (!packed) {
      std::copy_n(values, count, floats(y) + row * width + place);
      return;
    }
    float* tile = floats(y) + row / kTileRows * kTileRows * width + row % kTileRows;
    for (int64_t i = 0; i < count; ++i) {
      tile[packedIndex(place + i, width, SumOrder::kByLane) * kTileRows] = values[i];
    }
  }

  const ggml_tensor* y;
  int64_t width;
  bool packed;
  std::vector<int64_t> rows;  // the tokens that have one, in rising order
};

// A head of a sequence per chunk, from storing its keys and values to the result.
class FewRowsAttentionStep final : public Step {
 public:
  FewRowsAttentionStep(std::vector<AttentionPart> parts, AttentionResult result)
      : parts_(std::move(parts)), result_(std::move(result)) {}

  std::string name() const override { return "attention"; }
  int chunks() const override { return static_cast<int>(parts_.size()) * heads(); }
  size_t scratch() const override {
    int64_t positions = 0;
    for (const AttentionPart& part : parts_) positions = std::max(positions, part.positions());
    return std::max(static_cast<size_t>(positions + parts_[0].headSize()),
                    parts_[0].storeScratch());
  }
  void run(int chunk, float* scratch) const noexcept override {
    const AttentionPart& part = parts_[static_cast<size_t>(chunk / heads())];
    const int64_t head = chunk % heads();
    const int64_t headSize = part.headSize();
    float* attended = scratch;
    float* scores = scratch + headSize;
    part.storeKeysAndValues(head, scratch);
    const std::vector<int64_t>& rows = result_.rows;
    auto row = std::lower_bound(rows.begin(), rows.end(), part.first());
    for (; row != rows.end() && *row < part.first() + part.tokens(); ++row) {
      const int64_t token = *row - part.first();
      const int64_t seen = part.positions() - part.tokens() + token + 1;
      sumWeightedRows(part.keysOf(head, seen), part.query(token, head), scores);
      part.weigh(scores, token);
      sumWeightedRows(part.valuesOf(head, seen), scores, attended);
      result_.set(row - rows.begin(), head * headSize, attended, headSize);
    }
  }

 private:
  int heads() const { return static_cast<int>(parts_[0].heads()); }

  std::vector<AttentionPart> parts_;
  AttentionResult result_;
};

// A head per chunk.
class StoreStep final : public Step, private AttentionPart {
 public:
  explicit StoreStep(const AttentionPart& part) : AttentionPart(part) {}
  std::string name() const override { return "store keys and values"; }
  int chunks() const override { return static_cast<int>(heads_); }
  size_t scratch() const override { return storeScratch(); }
  void run(int chunk, float* scratch) const noexcept override {
    storeKeysAndValues(chunk, scratch);
  }
};

// A head and some tiles of tokens per chunk.
class ManyRowsAttentionStep final : public Step, private AttentionPart {
 public:
  ManyRowsAttentionStep(const AttentionPart& part, AttentionResult result)
      : AttentionPart(part), result_(std::move(result)) {}

  std::string name() const override { return "attention"; }
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
    auto row = std::lower_bound(result_.rows.begin(), result_.rows.end(), begin);
    if (row == result_.rows.end() || *row >= end) return;
    const int64_t positions = start_ + end;
    const int64_t stride = roundUp(positions, kTileColumns);

    float* keyPanels = scratch;  // [stride / kTileColumns][head size][kTileColumns]
    float* valuePanels =
        keyPanels +
        stride * headSize_;  // [head size / kTileColumns, rounded up][positions][kTileColumns]
    float* scores = valuePanels + stride * roundUp(headSize_, kTileColumns);  // [tile, stride]
    float* weights = scores + stride * kTileRows;                             // packed
    float* queries = weights + stride * kTileRows;                            // packed
    float* tile = queries + kTileRows * headSize_;

    const Matrix keys = keysOf(head, positions);
    const Matrix values = valuesOf(head, positions);
    for (int64_t p = 0; p < positions; p += kTileColumns) {
      packColumns(keys, p, keyPanels + p * headSize_);
    }
    for (int64_t d = 0; d < headSize_; d += kTileColumns) {
      packColumns(values, d, valuePanels + d * positions);
    }
    for (int64_t token = begin; token < end; token += kTileRows) {
      const int64_t count = std::min(kTileRows, end - token);
      const auto firstRow = row;
      row = std::lower_bound(row, result_.rows.end(), token + count);
      if (row == firstRow) continue;  // nobody asked for these tokens
      const int64_t seen = start_ + token + count;
      packTiles(query(token, head), static_cast<size_t>(3 * width_), count, headSize_,
                SumOrder::kSequential, queries);
      for (int64_t p = 0; p < seen; p += kTileColumns) {
        multiplyTile(queries, keyPanels + p * headSize_, headSize_, count, SumOrder::kSequential,
                     tile);
        for (int64_t i = 0; i < count; ++i) {
          std::copy_n(tile + i * kTileColumns, kTileColumns, scores + i * stride + p);
        }
      }
      for (int64_t i = 0; i < count; ++i) weigh(scores + i * stride, token + i);
      // Positions that all of the tile see are multiplied together, the later ones row by row: 0
      // times what is infinite or no number would be none.
      const int64_t common = start_ + token + 1;
      packTiles(scores, static_cast<size_t>(stride), count, common, SumOrder::kSequential, weights);
      for (int64_t d = 0; d < headSize_; d += kTileColumns) {
        const float* panel = valuePanels + d * positions;
        multiplyTile(weights, panel, common, count, SumOrder::kSequential, tile);
        for (int64_t i = 1; i < count; ++i) {
          accumulateRow(scores + i * stride + common, panel + common * kTileColumns, i,
                        tile + i * kTileColumns);
        }
        const int64_t columns = std::min(kTileColumns, headSize_ - d);
        for (auto it = firstRow; it != row; ++it) {
          result_.set(it - result_.rows.begin(), head * headSize_ + d,
                      tile + (*it - token) * kTileColumns, columns);
        }
      }
    }
  }

 private:
  // Tiles of tokens that share the packing of keys and values.
  static constexpr int64_t kTilesPerChunk = 8;

  int tileGroups() const { return chunksOf(tokens_, kTilesPerChunk * kTileRows); }

  AttentionResult result_;
};

// ---- Rows asked for

class AskedForStep final : public Step {
 public:
  AskedForStep(const ggml_tensor* x, std::vector<int64_t> rows, const ggml_tensor* y)
      : x_(x), rows_(std::move(rows)), y_(y) {}

  std::string name() const override { return "rows asked for"; }
  int chunks() const override { return 1; }
  void run(int /*chunk*/, float* /*scratch*/) const noexcept override {
    const int64_t width = x_->ne[0];
    float* y = floats(y_);
    for (const int64_t row : rows_) y = std::copy_n(floats(x_) + row * width, width, y);
  }

 private:
  const ggml_tensor* x_;
  std::vector<int64_t> rows_;
  const ggml_tensor* y_;
};

}  // namespace

FusedOps::FusedOps(ggml_context* context, const Hyperparameters& hyperparameters,
                   std::vector<Sequence> sequences, std::vector<int64_t> rows, int64_t mostRows)
    : context_(context),
      hyperparameters_(hyperparameters),
      sequences_(std::move(sequences)),
      rows_(std::move(rows)),
      mostRows_(mostRows) {
  for (const Sequence& sequence : sequences_) tokens_ += sequence.tokens;
}

FusedOps::~FusedOps() = default;

bool FusedOps::readsRows(int64_t count) const { return count <= mostRows_; }

ggml_tensor* FusedOps::norm(ggml_tensor* x, const LayerNorm& norm) {
  const bool packs = !readsRows(tokens_);
  ggml_tensor* y = make(x->ne[0], tokens_, packs, {x});
  setStep(
      y, std::make_unique<NormStep>(x, norm, hyperparameters_.layerNormEpsilon, tokens_, packs, y));
  return y;
}

ggml_tensor* FusedOps::linear(ggml_tensor* x, const Linear& linear, Activation activation,
                              ggml_tensor* residual) {
  const int64_t out = linear.weight->ne[1];
  if (readsRows(tokens_)) {
    if (!isFloatType(linear.weight->type)) {
      x = quantized(x, ggml_get_type_traits_cpu(linear.weight->type)->vec_dot_type);
    }
    ggml_tensor* y = make(out, tokens_, false, {x, residual});
    setStep(y, std::make_unique<RowsLinearStep>(x, linear, activation, residual, tokens_, y));
    return y;
  }
  // In GPT-2, what has an activation is read by the next linear layer only.
  const bool packs = activation != Activation::kNone;
  ggml_tensor* y = make(out, tokens_, packs, {x, residual});
  setStep(y,
          std::make_unique<PackedLinearStep>(x, linear, activation, residual, tokens_, packs, y));
  return y;
}

ggml_tensor* FusedOps::attention(ggml_tensor* qkv, size_t layer, Rows rows) {
  std::vector<AttentionPart> parts;
  int64_t first = 0;
  for (const Sequence& sequence : sequences_) {
    parts.emplace_back(qkv, first, sequence, layer, hyperparameters_);
    first += sequence.tokens;
  }
  const int64_t width = hyperparameters_.embeddingLength;
  AttentionResult result{nullptr, width, false, rows_};
  if (rows == Rows::kAll) {
    result.rows.resize(static_cast<size_t>(tokens_));
    std::iota(result.rows.begin(), result.rows.end(), 0);
  }
  const auto count = static_cast<int64_t>(result.rows.size());
  result.packed = !readsRows(count);
  if (parts.size() > 1 || tokens_ <= kMaxRowsPerCall) {
    ggml_tensor* y = make(width, count, result.packed, {qkv});
    result.y = y;
    setStep(y, std::make_unique<FewRowsAttentionStep>(std::move(parts), std::move(result)));
    return y;
  }
  ggml_tensor* stored = make(1, 1, false, {qkv});
  setStep(stored, std::make_unique<StoreStep>(parts[0]));
  ggml_tensor* y = make(width, count, result.packed, {qkv, stored});
  result.y = y;
  setStep(y, std::make_unique<ManyRowsAttentionStep>(parts[0], std::move(result)));
  return y;
}

ggml_tensor* FusedOps::askedFor(ggml_tensor* x) {
  tokens_ = static_cast<int64_t>(rows_.size());
  ggml_tensor* y = make(x->ne[0], tokens_, false, {x});
  setStep(y, std::make_unique<AskedForStep>(x, rows_, y));
  return y;
}

ggml_tensor* FusedOps::make(int64_t columns, int64_t count, bool packed,
                            std::vector<ggml_tensor*> from) {
  from.erase(std::remove(from.begin(), from.end(), nullptr), from.end());
  const auto never = [](ggml_tensor*, int, int, void*) {};  // ggml's executor does not run it
  return ggml_custom_4d(context_, GGML_TYPE_F32, columns,
                        packed ? roundUp(count, kTileRows) : count, 1, 1, from.data(),
                        static_cast<int>(from.size()), never, 1, nullptr);
}

ggml_tensor* FusedOps::quantized(ggml_tensor* x, ggml_type type) {
  const auto bytes = static_cast<int64_t>(ggml_row_size(type, x->ne[0])) * tokens_;
  constexpr int64_t kFloat = sizeof(float);
  ggml_tensor* y = make(roundUp(bytes, kFloat) / kFloat, 1, false, {x});
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
    if (steps[i] == nullptr) throw Error(code::kInternal, "an operation of ggml among ours");
  }
  return steps;
}

}  // namespace gpt2
