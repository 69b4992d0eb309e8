// Products against sums in double, and that both ways to a product give the same bits.

#include "kernels/matrix_product.h"

#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "random_numbers.h"

using gpt2::Matrix;
using gpt2::Order;
using gpt2::test::RandomNumbers;

namespace {

std::vector<float> randomFloats(size_t count, uint64_t seed) {
  RandomNumbers numbers(seed);
  std::vector<float> floats(count);
  for (float& number : floats) number = static_cast<float>(numbers.symmetric());
  return floats;
}

// A matrix inside a larger one, encoded, and the numbers that its elements stand for.
struct Stored {
  Stored(ggml_type type, int64_t rows, int64_t columns, int64_t stride)
      : numbers(static_cast<size_t>(rows * stride)) {
    const std::vector<float> floats = randomFloats(numbers.size(), 1);
    const size_t rowBytes = ggml_row_size(type, stride);
    bytes.resize(static_cast<size_t>(rows) * rowBytes);
    ggml_quantize_chunk(type, floats.data(), bytes.data(), 0, rows, stride, nullptr);
    if (type == GGML_TYPE_F32) {
      numbers = floats;
    } else {
      ggml_get_type_traits(type)->to_float(bytes.data(), numbers.data(), rows * stride);
    }
    matrix = {bytes.data(), rowBytes, type, rows, columns};
  }

  std::vector<uint8_t> bytes;
  std::vector<float> numbers;
  Matrix matrix{};
};

double product(const Stored& w, int64_t row, const float* x) {
  const auto stride = w.numbers.size() / static_cast<size_t>(w.matrix.rows);
  double sum = 0;
  for (int64_t k = 0; k < w.matrix.columns; ++k) {
    sum += double{x[k]} *
           double{w.numbers[static_cast<size_t>(row) * stride + static_cast<size_t>(k)]};
  }
  return sum;
}

// x · wᵀ by tiles: [n, rows of w].
std::vector<float> byTiles(const Matrix& w, const std::vector<float>& x, int64_t n, Order order) {
  const int64_t tileRows = gpt2::tileRows();
  const int64_t tileColumns = gpt2::tileColumns();
  const int64_t tiles = (n + tileRows - 1) / tileRows;
  std::vector<float> packed(static_cast<size_t>(tiles * tileRows * w.columns), NAN);
  gpt2::packRows(x.data(), static_cast<size_t>(w.columns), n, w.columns, order, packed.data());
  std::vector<float> panel(static_cast<size_t>(tileColumns * w.columns), NAN);
  std::vector<float> scratch(panel.size());
  std::vector<float> tile(static_cast<size_t>(tileRows * tileColumns));
  std::vector<float> out(static_cast<size_t>(n * w.rows));
  for (int64_t first = 0; first < w.rows; first += tileColumns) {
    gpt2::packPanel(w, first, order, panel.data(), scratch.data());
    for (int64_t t = 0; t < tiles; ++t) {
      gpt2::multiplyTile(packed.data() + t * tileRows * w.columns, panel.data(), w.columns, order,
                         tile.data());
      for (int64_t i = 0; i < tileRows; ++i) {
        for (int64_t j = 0; j < tileColumns; ++j) {
          const float value = tile[static_cast<size_t>(i * tileColumns + j)];
          if (t * tileRows + i >= n || first + j >= w.rows) {
            CHECK(value == 0 || std::isnan(value));  // the padding: 0 times anything
          } else {
            out[static_cast<size_t>((t * tileRows + i) * w.rows + first + j)] = value;
          }
        }
      }
    }
  }
  return out;
}

void checkProducts(ggml_type type, int64_t rows, int64_t columns, int64_t n) {
  constexpr int64_t kBlock = 32;
  const bool isFloat = gpt2::isReadInPlace(type);
  const Stored w(type, rows, columns, isFloat && rows % 2 == 0 ? columns + 3 : columns);
  CHECK(isFloat || columns % kBlock == 0);
  const std::vector<float> x = randomFloats(static_cast<size_t>(n * columns), 2);
  for (const Order order : {Order::kByLane, Order::kSequential}) {
    const std::vector<float> tiled = byTiles(w.matrix, x, n, order);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < rows; ++j) {
        CHECK_NEAR(tiled[static_cast<size_t>(i * rows + j)], product(w, j, x.data() + i * columns),
                   1e-7 * static_cast<double>(columns) + 1e-7);
      }
    }
    if (!isFloat) continue;
    if (order == Order::kSequential) {
      std::vector<float> one(static_cast<size_t>(rows));
      gpt2::multiplyOne(w.matrix, x.data(), one.data());
      for (size_t j = 0; j < one.size(); ++j) CHECK_EQUAL(one[j], tiled[j]);
      continue;
    }
    if (n > gpt2::kFewRows) continue;
    // From a first row on, into rows that are further apart than they are long.
    const int64_t first = rows / 3;
    const int64_t stride = rows + 5;
    std::vector<float> few(static_cast<size_t>(n * stride), -1);
    gpt2::multiplyFew(w.matrix, first, rows - first, x.data(), static_cast<size_t>(columns),
                      static_cast<int>(n), few.data(), static_cast<size_t>(stride));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < stride; ++j) {
        const float value = few[static_cast<size_t>(i * stride + j)];
        if (j < rows - first) {
          CHECK_EQUAL(value, tiled[static_cast<size_t>(i * rows + first + j)]);
        } else {
          CHECK_EQUAL(value, -1.0F);  // nothing is written beyond
        }
      }
    }
  }
}

}  // namespace

// Of eleven columns, say, each stands in one place.
TEST(packedColumnsHaveAPlaceEach) {
  for (const Order order : {Order::kByLane, Order::kSequential}) {
    for (const int64_t columns : {1, 3, 4, 5, 11, 16, 17, 100}) {
      std::vector<int> taken(static_cast<size_t>(columns));
      for (int64_t k = 0; k < columns; ++k) {
        ++taken.at(static_cast<size_t>(gpt2::packedPlace(k, columns, order)));
      }
      CHECK(taken == std::vector<int>(taken.size(), 1));
    }
  }
}

TEST(productsOfAnySizeAreExactAndTheSameBothWays) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
    for (const int64_t rows : {1, 5, 15, 16, 17, 31, 32, 33, 70}) {
      for (const int64_t columns : {1, 3, 15, 16, 17, 40, 64, 100}) {
        for (const int64_t n : {1, 2, 3, 4, 5, 11, 12, 13, 25}) {
          checkProducts(type, rows, columns, n);
        }
      }
    }
  }
}

TEST(quantisedMatricesAreWidenedIntoPanels) {
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1}) {
    for (const int64_t rows : {1, 33, 64}) checkProducts(type, rows, 96, 13);
  }
}

TEST(whatIsNoNumberStaysInItsRowAndColumn) {
  const Stored w(GGML_TYPE_F32, 40, 20, 20);
  std::vector<float> x = randomFloats(14 * 20, 3);
  x[3 * 20 + 7] = NAN;
  for (const Order order : {Order::kByLane, Order::kSequential}) {
    const std::vector<float> out = byTiles(w.matrix, x, 14, order);
    for (size_t i = 0; i < out.size(); ++i) CHECK_EQUAL(std::isnan(out[i]), i / 40 == 3);
  }
}

TEST(everyHalfAndBrainNumberIsWidenedRight) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16}) {
    std::vector<uint16_t> bits(65536);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    std::vector<float> expected(bits.size());
    ggml_get_type_traits(type)->to_float(bits.data(), expected.data(), 65536);
    const float one = 1;
    std::vector<float> out(bits.size());
    gpt2::multiplyFew({bits.data(), sizeof(uint16_t), type, 65536, 1}, 0, 65536, &one, 1, 1,
                      out.data(), 65536);
    const auto isSame = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    for (size_t i = 0; i < bits.size(); ++i) CHECK(isSame(out[i], expected[i]));
    // Whole vectors of them.
    constexpr int64_t kColumns = 64;
    const Matrix matrix{bits.data(), kColumns * sizeof(uint16_t), type, 65536 / kColumns, kColumns};
    std::vector<float> panel(static_cast<size_t>(gpt2::tileColumns() * kColumns));
    for (int64_t first = 0; first < matrix.rows; first += gpt2::tileColumns()) {
      gpt2::packPanel(matrix, first, Order::kSequential, panel.data(), nullptr);
      for (int64_t k = 0; k < kColumns; ++k) {
        for (int64_t j = 0; j < gpt2::tileColumns(); ++j) {
          CHECK(isSame(panel[static_cast<size_t>(k * gpt2::tileColumns() + j)],
                       expected[static_cast<size_t>((first + j) * kColumns + k)]));
        }
      }
    }
  }
}

TEST(aRowGoesOnWhereATileEnded) {
  const Stored w(GGML_TYPE_F32, gpt2::tileColumns(), 30, 30);
  const std::vector<float> x = randomFloats(30, 4);
  const std::vector<float> whole = byTiles(w.matrix, x, 1, Order::kSequential);
  std::vector<float> panel(static_cast<size_t>(gpt2::tileColumns() * 30));
  gpt2::packPanel(w.matrix, 0, Order::kSequential, panel.data(), nullptr);
  std::vector<float> packed(static_cast<size_t>(gpt2::tileRows() * 19));
  gpt2::packRows(x.data(), 30, 1, 19, Order::kSequential, packed.data());
  std::vector<float> tile(static_cast<size_t>(gpt2::tileRows() * gpt2::tileColumns()));
  gpt2::multiplyTile(packed.data(), panel.data(), 19, Order::kSequential, tile.data());
  gpt2::continueRow(x.data() + 19, panel.data() + 19 * gpt2::tileColumns(), 11, tile.data());
  for (size_t j = 0; j < whole.size(); ++j) CHECK_EQUAL(tile[j], whole[j]);
}
