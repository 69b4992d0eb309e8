// Checks products against sums in double precision, and that the packed and the unpacked kernels
// give the same bits.

#include "kernels/matrix_product.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "random_numbers.h"

using gpt2::Matrix;
using gpt2::SumOrder;
using gpt2::test::RandomNumbers;

namespace {

std::vector<float> randomFloats(size_t count, uint64_t seed) {
  RandomNumbers numbers(seed);
  std::vector<float> floats(count);
  for (float& number : floats) number = static_cast<float>(numbers.symmetric());
  return floats;
}

// An encoded matrix within a larger one, and the decoded values of the larger one.
struct Stored {
  Stored(ggml_type type, int64_t rows, int64_t columns, int64_t stride)
      : values(static_cast<size_t>(rows * stride)) {
    const std::vector<float> floats = randomFloats(values.size(), 1);
    const size_t rowBytes = ggml_row_size(type, stride);
    bytes.resize(static_cast<size_t>(rows) * rowBytes);
    ggml_quantize_chunk(type, floats.data(), bytes.data(), 0, rows, stride, nullptr);
    if (type == GGML_TYPE_F32) {
      values = floats;
    } else {
      ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), rows * stride);
    }
    matrix = {bytes.data(), rowBytes, type, rows, columns};
  }

  std::vector<uint8_t> bytes;
  std::vector<float> values;
  Matrix matrix{};
};

size_t strideOf(const Stored& w) { return w.values.size() / static_cast<size_t>(w.matrix.rows); }

// x · wᵀ or x · w by the packed kernels: [n, rows of w] or [n, columns of w].
std::vector<float> multiplyPacked(const Matrix& w, const std::vector<float>& x, int64_t n,
                                  SumOrder order) {
  const bool isTransposed = order == SumOrder::kByLane;
  const int64_t terms = isTransposed ? w.columns : w.rows;  // of each sum
  const int64_t width = isTransposed ? w.rows : w.columns;  // of the result
  const int64_t tileRows = gpt2::tileRows();
  const int64_t tileColumns = gpt2::tileColumns();
  const int64_t tiles = (n + tileRows - 1) / tileRows;
  std::vector<float> packed(static_cast<size_t>(tiles * tileRows * terms), NAN);
  const int64_t third = terms / 3;  // the columns may be packed in parts
  gpt2::packTiles(x.data(), static_cast<size_t>(terms), n, {0, third, terms}, order, packed.data());
  gpt2::packTiles(x.data() + third, static_cast<size_t>(terms), n, {third, terms - third, terms},
                  order, packed.data());
  std::vector<float> panel(static_cast<size_t>(tileColumns * terms), NAN);
  std::vector<float> scratch(panel.size());
  const int64_t stride = tileColumns + 5;
  std::vector<float> tile(static_cast<size_t>(tileRows * stride));
  std::vector<float> out(static_cast<size_t>(n * width));
  for (int64_t first = 0; first < width; first += tileColumns) {
    if (isTransposed) {
      gpt2::packRows(w, first, panel.data(), scratch.data());
    } else {
      gpt2::packColumns(w, first, panel.data());
    }
    for (int64_t row = 0; row < n; row += tileRows) {
      const int64_t rows = std::min(tileRows, n - row);
      gpt2::multiplyTile(packed.data() + row * terms, panel.data(), terms, rows, order, tile.data(),
                         static_cast<size_t>(stride));
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < tileColumns; ++j) {
          const float value = tile[static_cast<size_t>(i * stride + j)];
          if (first + j < width) {
            out[static_cast<size_t>((row + i) * width + first + j)] = value;
          } else {
            CHECK(value == 0 || std::isnan(value));  // the padding: 0 times a number or a NaN
          }
        }
      }
    }
  }
  return out;
}

// The rows of some matrices are further apart than they are long.
Stored storedMatrix(ggml_type type, int64_t rows, int64_t columns) {
  return {type, rows, columns, gpt2::isFloatType(type) && rows % 2 == 0 ? columns + 3 : columns};
}

// x · wᵀ
void checkRows(ggml_type type, int64_t rows, int64_t columns, int64_t n) {
  const Stored w = storedMatrix(type, rows, columns);
  const std::vector<float> x = randomFloats(static_cast<size_t>(n * columns), 2);
  const std::vector<float> tiled = multiplyPacked(w.matrix, x, n, SumOrder::kByLane);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < rows; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < columns; ++k) {
        sum += double{x[static_cast<size_t>(i * columns + k)]} *
               double{w.values[static_cast<size_t>(j) * strideOf(w) + static_cast<size_t>(k)]};
      }
      CHECK_NEAR(tiled[static_cast<size_t>(i * rows + j)], sum,
                 1e-7 * static_cast<double>(columns) + 1e-7);
    }
  }
  if (!gpt2::isFloatType(type) || n > gpt2::kMaxRowsPerCall) return;
  // Starts at a row in the middle and writes rows that are further apart than they are long.
  const int64_t first = rows / 3;
  const int64_t stride = rows + 5;
  std::vector<float> unpacked(static_cast<size_t>(n * stride), -1);
  gpt2::multiplyRows(w.matrix, first, rows - first, x.data(), static_cast<size_t>(columns),
                     static_cast<int>(n), unpacked.data(), static_cast<size_t>(stride));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < stride; ++j) {
      const float value = unpacked[static_cast<size_t>(i * stride + j)];
      if (j < rows - first) {
        CHECK_EQUAL(value, tiled[static_cast<size_t>(i * rows + first + j)]);
      } else {
        CHECK_EQUAL(value, -1.0F);  // past the end nothing is written
      }
    }
  }
}

// x · w
void checkColumns(ggml_type type, int64_t rows, int64_t columns, int64_t n) {
  const Stored w = storedMatrix(type, rows, columns);
  const std::vector<float> x = randomFloats(static_cast<size_t>(n * rows), 2);
  const std::vector<float> tiled = multiplyPacked(w.matrix, x, n, SumOrder::kSequential);
  std::vector<float> one(static_cast<size_t>(columns + 1));
  for (int64_t i = 0; i < n; ++i) {
    one.back() = -1;
    std::fill(one.begin(), one.end() - 1, 0.0F);
    gpt2::addWeightedRows(w.matrix, x.data() + i * rows, one.data(), w.matrix.data);
    CHECK_EQUAL(one.back(), -1.0F);  // past the end nothing is written
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < rows; ++k) {
        sum += double{x[static_cast<size_t>(i * rows + k)]} *
               double{w.values[static_cast<size_t>(k) * strideOf(w) + static_cast<size_t>(j)]};
      }
      CHECK_NEAR(one[static_cast<size_t>(j)], sum, 1e-7 * static_cast<double>(rows) + 1e-7);
      CHECK_EQUAL(one[static_cast<size_t>(j)], tiled[static_cast<size_t>(i * columns + j)]);
    }
  }
}

}  // namespace

TEST(packedIndicesAreAPermutation) {
  for (const SumOrder order : {SumOrder::kByLane, SumOrder::kSequential}) {
    for (const int64_t columns : {1, 3, 4, 5, 11, 16, 17, 100}) {
      std::vector<int> taken(static_cast<size_t>(columns));
      for (int64_t k = 0; k < columns; ++k) {
        ++taken.at(static_cast<size_t>(gpt2::packedIndex(k, columns, order)));
      }
      CHECK(taken == std::vector<int>(taken.size(), 1));
    }
  }
}

TEST(packedAndUnpackedProductsOfAnySizeAreExactAndIdentical) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
    for (const int64_t rows : {1, 5, 15, 16, 17, 31, 32, 33, 70}) {
      for (const int64_t columns : {1, 3, 15, 16, 17, 40, 64, 100, 150}) {
        for (const int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 25}) {
          checkRows(type, rows, columns, n);
          checkColumns(type, rows, columns, n);
        }
      }
    }
  }
}

TEST(quantisedMatricesAreWidenedIntoPanels) {
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1}) {
    for (const int64_t rows : {1, 33, 64}) checkRows(type, rows, 96, 13);
  }
}

TEST(nanStaysInItsRow) {
  const Stored w(GGML_TYPE_F32, 40, 40, 40);
  std::vector<float> x = randomFloats(14 * 40, 3);
  x[3 * 40 + 7] = NAN;
  for (const SumOrder order : {SumOrder::kByLane, SumOrder::kSequential}) {
    const std::vector<float> out = multiplyPacked(w.matrix, x, 14, order);
    for (size_t i = 0; i < out.size(); ++i) CHECK_EQUAL(std::isnan(out[i]), i / 40 == 3);
  }
}

TEST(everyF16AndBf16ValueIsWidenedExactly) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16}) {
    std::vector<uint16_t> bits(65536);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    std::vector<float> expected(bits.size());
    ggml_get_type_traits(type)->to_float(bits.data(), expected.data(), 65536);
    const float one = 1;
    std::vector<float> out(bits.size());
    gpt2::multiplyRows({bits.data(), sizeof(uint16_t), type, 65536, 1}, 0, 65536, &one, 1, 1,
                       out.data(), 65536);
    const auto isSame = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    for (size_t i = 0; i < bits.size(); ++i) CHECK(isSame(out[i], expected[i]));
    // Panels load whole vectors of them.
    constexpr int64_t kColumns = 64;
    const Matrix matrix{bits.data(), kColumns * sizeof(uint16_t), type, 65536 / kColumns, kColumns};
    std::vector<float> panel(static_cast<size_t>(gpt2::tileColumns() * kColumns));
    for (int64_t first = 0; first < matrix.rows; first += gpt2::tileColumns()) {
      gpt2::packRows(matrix, first, panel.data(), nullptr);
      for (int64_t k = 0; k < kColumns; ++k) {
        for (int64_t j = 0; j < gpt2::tileColumns(); ++j) {
          const int64_t place = gpt2::packedIndex(k, kColumns, SumOrder::kByLane);
          CHECK(isSame(panel[static_cast<size_t>(place * gpt2::tileColumns() + j)],
                       expected[static_cast<size_t>((first + j) * kColumns + k)]));
        }
      }
    }
  }
}

TEST(aRowContinuesTheSumsOfATile) {
  const Stored w(GGML_TYPE_F32, 30, gpt2::tileColumns(), gpt2::tileColumns());
  const std::vector<float> x = randomFloats(30, 4);
  const std::vector<float> whole = multiplyPacked(w.matrix, x, 1, SumOrder::kSequential);
  std::vector<float> panel(static_cast<size_t>(gpt2::tileColumns() * 30));
  gpt2::packColumns(w.matrix, 0, panel.data());
  std::vector<float> packed(static_cast<size_t>(gpt2::tileRows() * 19));
  gpt2::packTiles(x.data(), 30, 1, {0, 19, 19}, SumOrder::kSequential, packed.data());
  std::vector<float> tile(static_cast<size_t>(gpt2::tileRows() * gpt2::tileColumns()));
  gpt2::multiplyTile(packed.data(), panel.data(), 19, 1, SumOrder::kSequential, tile.data(),
                     static_cast<size_t>(gpt2::tileColumns()));
  gpt2::accumulateRow(x.data() + 19, panel.data() + 19 * gpt2::tileColumns(), 11, tile.data());
  for (size_t j = 0; j < whole.size(); ++j) CHECK_EQUAL(tile[j], whole[j]);
}
