#include "ops/row_steps.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/matrix_product.h"
#include "kernels/quantized_product.h"
#include "kernels/row_functions.h"
#include "ops/step_helpers.h"

namespace gpt2 {

namespace {

// One chunk per row, or per tile of rows if the output is packed.
class NormStep final : public Step {
 public:
  NormStep(const ggml_tensor* x, const LayerNorm& norm, int64_t tokens, bool packsOutput,
           const ggml_tensor* y)
      : x_(x), norm_(norm), tokens_(tokens), packsOutput_(packsOutput), y_(y) {}

  std::string name() const override { return "norm"; }
  int chunks() const override { return chunkCount(tokens_, rowsPerChunk()); }
  size_t scratch() const override {
    return packsOutput_ ? static_cast<size_t>(tileRows() * x_->ne[0]) : 0;
  }
  void run(int chunk, float* scratch) const noexcept override {
    const int64_t width = x_->ne[0];
    const int64_t first = chunk * rowsPerChunk();
    const int64_t count = std::min(rowsPerChunk(), tokens_ - first);
    float* y = floats(y_) + first * width;
    float* rows = packsOutput_ ? scratch : y;
    for (int64_t i = 0; i < count; ++i) {
      normalize(floats(x_) + (first + i) * width, floats(norm_.weight),
                norm_.bias == nullptr ? nullptr : floats(norm_.bias), norm_.epsilon, width,
                rows + i * width);
    }
    if (packsOutput_) {
      packTiles(rows, static_cast<size_t>(width), count, {0, width, width}, SumOrder::kByLane, y);
    }
  }

 private:
  int64_t rowsPerChunk() const { return packsOutput_ ? tileRows() : 1; }

  const ggml_tensor* x_;
  LayerNorm norm_;
  int64_t tokens_;
  bool packsOutput_;
  const ggml_tensor* y_;
};

// One chunk per row.
class RoundStep final : public Step {
 public:
  RoundStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y) : x_(x), rows_(rows), y_(y) {}

  std::string name() const override { return "round"; }
  int chunks() const override { return static_cast<int>(rows_); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    const int64_t width = x_->ne[0];
    roundRow(floats(x_) + chunk * width, width,
             static_cast<uint8_t*>(y_->data) + static_cast<size_t>(chunk) * roundedRowBytes(width));
  }

 private:
  const ggml_tensor* x_;
  int64_t rows_;
  const ggml_tensor* y_;
};

// One chunk per tile.
class PackStep final : public Step {
 public:
  PackStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y) : x_(x), rows_(rows), y_(y) {}

  std::string name() const override { return "pack"; }
  int chunks() const override { return chunkCount(rows_, tileRows()); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    const int64_t width = x_->ne[0];
    const int64_t first = chunk * tileRows();
    packTiles(floats(x_) + first * width, static_cast<size_t>(width),
              std::min(tileRows(), rows_ - first), {0, width, width}, SumOrder::kByLane,
              floats(y_) + first * width);
  }

 private:
  const ggml_tensor* x_;
  int64_t rows_;
  const ggml_tensor* y_;
};

class SelectRowsStep final : public Step {
 public:
  SelectRowsStep(const ggml_tensor* x, std::vector<int64_t> rows, const ggml_tensor* y)
      : x_(x), rows_(std::move(rows)), y_(y) {}

  std::string name() const override { return "select rows"; }
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

std::unique_ptr<Step> makeNormStep(const ggml_tensor* x, const LayerNorm& norm, int64_t tokens,
                                   bool packsOutput, const ggml_tensor* y) {
  return std::make_unique<NormStep>(x, norm, tokens, packsOutput, y);
}

std::unique_ptr<Step> makeRoundStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y) {
  return std::make_unique<RoundStep>(x, rows, y);
}

std::unique_ptr<Step> makePackStep(const ggml_tensor* x, int64_t rows, const ggml_tensor* y) {
  return std::make_unique<PackStep>(x, rows, y);
}

std::unique_ptr<Step> makeSelectRowsStep(const ggml_tensor* x, std::vector<int64_t> rows,
                                         const ggml_tensor* y) {
  return std::make_unique<SelectRowsStep>(x, std::move(rows), y);
}

}  // namespace gpt2
