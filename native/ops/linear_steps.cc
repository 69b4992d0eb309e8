#include "ops/linear_steps.h"

#include <algorithm>
#include <string>

#include "kernels/matrix_product.h"
#include "kernels/quantized_product.h"
#include "kernels/row_functions.h"
#include "kernels/widen_row.h"
#include "ops/step_helpers.h"

namespace gpt2 {

namespace {

Matrix matrixOf(const ggml_tensor* weight) {
  return {weight->data, weight->nb[1], weight->type, weight->ne[1], weight->ne[0]};
}

class LinearStep : public Step {
 public:
  explicit LinearStep(const LinearOperands& operands)
      : x_(operands.x),
        w_(matrixOf(operands.linear.weight)),
        bias_(operands.linear.bias),
        activation_(operands.activation),
        residual_(operands.residual),
        tokens_(operands.tokens),
        y_(operands.y) {}

  std::string name() const override {
    return "linear " + std::to_string(w_.columns) + " to " + std::to_string(w_.rows);
  }

 protected:
  // Bias, activation and residual for the outputs [first, first + count) of one token.
  void finishOutputs(const float* products, int64_t token, int64_t first, int64_t count,
                     float* y) const {
    applyEpilogue(products, bias_ == nullptr ? nullptr : floats(bias_) + first, activation_,
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

// One chunk per kOutputs outputs, for all tokens.
class RowsLinearStep final : public LinearStep {
 public:
  using LinearStep::LinearStep;

  int chunks() const override { return chunkCount(w_.rows, outputsPerChunk()); }
  size_t scratch() const override {
    return isFloatType(w_.type) ? 0 : static_cast<size_t>(kWidenedOutputs * w_.columns);
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t first = chunk * outputsPerChunk();
    const int64_t count = std::min(outputsPerChunk(), w_.rows - first);
    float* y = floats(y_) + first;
    if (isFloatType(w_.type)) {
      multiply(w_, first, count, y);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        widenRow(
            w_.type,
            static_cast<const uint8_t*>(w_.data) + static_cast<size_t>(first + i) * w_.rowBytes,
            scratch + i * w_.columns, w_.columns);
      }
      multiply({scratch, static_cast<size_t>(w_.columns) * sizeof(float), GGML_TYPE_F32, count,
                w_.columns},
               0, count, y);
    }
    for (int64_t token = 0; token < tokens_; ++token) {
      finishOutputs(y + token * w_.rows, token, first, count, y + token * w_.rows);
    }
  }

 private:
  // Reading the weights of a chunk takes a few microseconds.
  static constexpr int64_t kOutputs = 64;

  static constexpr int64_t kWidenedOutputs = 16;

  int64_t outputsPerChunk() const { return isFloatType(w_.type) ? kOutputs : kWidenedOutputs; }

  void multiply(const Matrix& w, int64_t first, int64_t count, float* y) const {
    for (int64_t token = 0; token < tokens_; token += kMaxRowsPerCall) {
      multiplyRows(w, first, count, floats(x_) + token * w.columns, static_cast<size_t>(w.columns),
                   static_cast<int>(std::min<int64_t>(tokens_ - token, kMaxRowsPerCall)),
                   y + token * w_.rows, static_cast<size_t>(w_.rows));
    }
  }
};

// One chunk per panel of the weights, for all tokens.
class PackedLinearStep final : public LinearStep {
 public:
  PackedLinearStep(const LinearOperands& operands, bool packsOutput)
      : LinearStep(operands), packsOutput_(packsOutput) {}

  int chunks() const override { return chunkCount(w_.rows, tileColumns()); }
  size_t scratch() const override {
    const int64_t panel = w_.columns * tileColumns();
    return static_cast<size_t>(panel + tileRows() * tileColumns() +
                               (isFloatType(w_.type) ? 0 : panel));
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t perTile = tileRows();
    const int64_t width = tileColumns();
    const int64_t first = chunk * width;
    const int64_t count = std::min(width, w_.rows - first);
    float* panel = scratch;
    float* tile = panel + w_.columns * width;
    packRows(w_, first, panel, tile + perTile * width);
    for (int64_t token = 0; token < tokens_; token += perTile) {
      const int64_t rows = std::min(perTile, tokens_ - token);
      multiplyTile(floats(x_) + token * w_.columns, panel, w_.columns, rows, SumOrder::kByLane,
                   tile, static_cast<size_t>(width));
      for (int64_t i = 0; i < rows; ++i) {
        float* products = tile + i * width;
        finishOutputs(products, token + i, first, count,
                      packsOutput_ ? products : floats(y_) + (token + i) * w_.rows + first);
      }
      if (packsOutput_) {
        packTiles(tile, static_cast<size_t>(width), rows, {first, count, w_.rows},
                  SumOrder::kByLane, floats(y_) + token * w_.rows);
      }
    }
  }

 private:
  bool packsOutput_;
};

// Few tokens: one chunk per kOutputs outputs. Many: one chunk per panel of the weights.
class RoundedLinearStep final : public LinearStep {
 public:
  using LinearStep::LinearStep;

  int chunks() const override { return chunkCount(w_.rows, outputsPerChunk()); }
  size_t scratch() const override {
    if (isUnpacked()) return 0;
    return panelFloats() + static_cast<size_t>(roundedTileRows() * tileColumns());
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t first = chunk * outputsPerChunk();
    const int64_t count = std::min(outputsPerChunk(), w_.rows - first);
    if (isUnpacked()) {
      multiplyUnpacked(first, count);
    } else {
      multiplyPanel(first, count, scratch);
    }
  }

 private:
  static constexpr int64_t kOutputs = 64;
  // Up to this number of tokens, unpacking each block for every call is faster than panels.
  static constexpr int64_t kMaxUnpackedTokens = 4;

  bool isUnpacked() const { return tokens_ <= kMaxUnpackedTokens; }
  int64_t outputsPerChunk() const { return isUnpacked() ? kOutputs : tileColumns(); }
  size_t panelFloats() const { return integerPanelBytes(w_.type, w_.columns) / sizeof(float); }
  const uint8_t* rounded(int64_t token) const {
    return static_cast<const uint8_t*>(x_->data) +
           static_cast<size_t>(token) * roundedRowBytes(w_.columns);
  }

  void multiplyUnpacked(int64_t first, int64_t count) const {
    float* y = floats(y_) + first;
    for (int64_t token = 0; token < tokens_; token += kMaxRoundedRowsPerCall) {
      multiplyRoundedRows(
          w_, first, count, rounded(token),
          static_cast<int>(std::min<int64_t>(tokens_ - token, kMaxRoundedRowsPerCall)),
          y + token * w_.rows, static_cast<size_t>(w_.rows));
    }
    for (int64_t token = 0; token < tokens_; ++token) {
      finishOutputs(y + token * w_.rows, token, first, count, y + token * w_.rows);
    }
  }

  void multiplyPanel(int64_t first, int64_t count, float* scratch) const {
    auto* panel = reinterpret_cast<uint8_t*>(scratch);
    float* tile = scratch + panelFloats();
    packIntegerRows(w_, first, panel);
    for (int64_t token = 0; token < tokens_; token += roundedTileRows()) {
      const int64_t rows = std::min(roundedTileRows(), tokens_ - token);
      multiplyRoundedTile(rounded(token), rows, panel, w_.type, w_.columns, tile);
      for (int64_t i = 0; i < rows; ++i) {
        finishOutputs(tile + i * tileColumns(), token + i, first, count,
                      floats(y_) + (token + i) * w_.rows + first);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Step> makeRowsLinearStep(const LinearOperands& operands) {
  return std::make_unique<RowsLinearStep>(operands);
}

std::unique_ptr<Step> makeRoundedLinearStep(const LinearOperands& operands) {
  return std::make_unique<RoundedLinearStep>(operands);
}

std::unique_ptr<Step> makePackedLinearStep(const LinearOperands& operands, bool packsOutput) {
  return std::make_unique<PackedLinearStep>(operands, packsOutput);
}

}  // namespace gpt2
