#include "gguf/low_rank_product.h"

#include <algorithm>
#include <cstddef>

namespace gpt2 {

namespace {

// Products of numbers in a chunk: a few milliseconds, which bounds the delay of a cancellation.
constexpr int64_t kProductsPerChunk = int64_t{1} << 23;

class AddProduct final : public Step {
 public:
  AddProduct(const LowRankProduct& product, float* numbers)
      : product_(product),
        numbers_(numbers),
        rowsPerChunk_(std::clamp<int64_t>(
            kProductsPerChunk / std::max<int64_t>(1, product.columns) / product.rank, 1,
            product.rows)) {}

  int chunks() const override {
    return static_cast<int>((product_.rows + rowsPerChunk_ - 1) / rowsPerChunk_);
  }
  size_t scratch() const override { return static_cast<size_t>(product_.columns); }

  void run(int chunk, float* scratch) const noexcept override {
    const auto& [left, right, rows, rank, columns, factor] = product_;
    const int64_t first = chunk * rowsPerChunk_;
    const int64_t end = std::min(rows, first + rowsPerChunk_);
    for (int64_t row = first; row < end; ++row) {
      std::fill_n(scratch, columns, 0.0F);
      for (int64_t i = 0; i < rank; ++i) {
        const float weight = left[row * rank + i];
        const float* other = right + i * columns;
        for (int64_t column = 0; column < columns; ++column) {
          scratch[column] += weight * other[column];
        }
      }
      float* out = numbers_ + row * columns;
      for (int64_t column = 0; column < columns; ++column) out[column] += factor * scratch[column];
    }
  }

 private:
  const LowRankProduct& product_;
  float* numbers_;
  int64_t rowsPerChunk_;
};

}  // namespace

void addLowRankProduct(const LowRankProduct& product, float* numbers, ThreadPool& pool,
                       const CancelFlag* cancelled) {
  const AddProduct step(product, numbers);
  pool.run({&step}, cancelled);
}

}  // namespace gpt2
