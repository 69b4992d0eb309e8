#include "ops/linear_steps.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <string>

#include "kernels/matrix_product.h"
#include "kernels/row_functions.h"
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

  int chunks() const override { return chunkCount(w_.rows, kOutputs); }
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
  // Reading the weights of a chunk takes a few microseconds.
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

// One chunk per panel of the weights, for all tokens.
class PackedLinearStep final : public LinearStep {
 public:
  PackedLinearStep(const LinearOperands& operands, bool packsOutput)
      : LinearStep(operands), packsOutput_(packsOutput) {}

  int chunks() const override { return chunkCount(w_.rows, kTileColumns); }
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
        float* products = tile + i * kTileColumns;
        finishOutputs(products, token + i, first, count,
                      packsOutput_ ? products : floats(y_) + (token + i) * w_.rows + first);
      }
      // The elements beyond the last token are unspecified: nothing reads them.
      if (packsOutput_) {
        for (int64_t j = 0; j < count; ++j) {
          float* packed = floats(y_) + token * w_.rows +
                          packedIndex(first + j, w_.rows, SumOrder::kByLane) * kTileRows;
          for (int64_t i = 0; i < kTileRows; ++i) packed[i] = tile[i * kTileColumns + j];
        }
      }
    }
  }

 private:
  bool packsOutput_;
};

}  // namespace

std::unique_ptr<Step> makeRowsLinearStep(const LinearOperands& operands) {
  return std::make_unique<RowsLinearStep>(operands);
}

std::unique_ptr<Step> makePackedLinearStep(const LinearOperands& operands, bool packsOutput) {
  return std::make_unique<PackedLinearStep>(operands, packsOutput);
}

}  // namespace gpt2
