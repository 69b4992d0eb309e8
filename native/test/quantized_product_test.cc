// Checks products in integers against sums in double precision, and that the kernels for few and
// for many rows give the same bits.

#include "kernels/quantized_product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "random_numbers.h"

using gpt2::Matrix;
using gpt2::test::RandomNumbers;

namespace {

constexpr int64_t kBlock = 32;
const ggml_type kTypes[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0,
                            GGML_TYPE_Q5_1, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

std::vector<float> randomFloats(size_t count, uint64_t seed) {
  RandomNumbers numbers(seed);
  std::vector<float> floats(count);
  for (float& number : floats) number = static_cast<float>(numbers.symmetric());
  return floats;
}

// Bytes at an address that vectors need.
struct AlignedBytes {
  explicit AlignedBytes(size_t size) : memory(size + 63) {}
  uint8_t* data() {
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    return memory.data() + ((address + 63) / 64 * 64 - address);
  }
  std::vector<uint8_t> memory;
};

struct Stored {
  Stored(ggml_type type, std::vector<uint8_t> encoded, int64_t rows, int64_t columns)
      : bytes(std::move(encoded)), values(static_cast<size_t>(rows * columns)) {
    ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), rows * columns);
    matrix = {bytes.data(), ggml_row_size(type, columns), type, rows, columns};
  }

  std::vector<uint8_t> bytes;
  std::vector<float> values;
  Matrix matrix{};
};

Stored storedMatrix(ggml_type type, int64_t rows, int64_t columns) {
  const std::vector<float> floats = randomFloats(static_cast<size_t>(rows * columns), 1);
  std::vector<uint8_t> bytes(static_cast<size_t>(rows) * ggml_row_size(type, columns));
  ggml_quantize_chunk(type, floats.data(), bytes.data(), 0, rows, columns, nullptr);
  return {type, std::move(bytes), rows, columns};
}

// x, rounded to 8 bits block by block.
std::vector<double> rounded(const std::vector<float>& x) {
  std::vector<double> result;
  for (size_t begin = 0; begin < x.size(); begin += kBlock) {
    float top = 0;
    for (size_t i = begin; i < begin + kBlock; ++i) top = std::max(top, std::abs(x[i]));
    const float inverse = top == 0 ? 0 : 127 / top;
    for (size_t i = begin; i < begin + kBlock; ++i) {
      result.push_back(std::nearbyint(x[i] * inverse) * double{top / 127});
    }
  }
  return result;
}

struct Products {
  std::vector<float> few, many;  // [n, rows of w]
};

Products multiply(const Matrix& w, const std::vector<float>& x, int64_t n) {
  const size_t rowBytes = gpt2::roundedRowBytes(w.columns);
  AlignedBytes rows(static_cast<size_t>(n) * rowBytes);
  const auto row = [&](int64_t i) { return rows.data() + static_cast<size_t>(i) * rowBytes; };
  for (int64_t i = 0; i < n; ++i) gpt2::roundRow(x.data() + i * w.columns, w.columns, row(i));

  Products products;
  // Starts at a row in the middle and writes rows that are further apart than they are long.
  const int64_t stride = w.rows + 3;
  const int64_t middle = w.rows / 3;
  std::vector<float> few(static_cast<size_t>(n * stride), -1);
  for (int64_t i = 0; i < n; i += gpt2::kMaxRoundedRowsPerCall) {
    const auto count = static_cast<int>(std::min<int64_t>(n - i, gpt2::kMaxRoundedRowsPerCall));
    float* out = few.data() + i * stride;
    gpt2::multiplyRoundedRows(w, 0, middle, row(i), count, out, static_cast<size_t>(stride));
    gpt2::multiplyRoundedRows(w, middle, w.rows - middle, row(i), count, out + middle,
                              static_cast<size_t>(stride));
  }
  for (int64_t i = 0; i < n; ++i) {
    products.few.insert(products.few.end(), few.begin() + i * stride,
                        few.begin() + i * stride + w.rows);
    for (int64_t j = w.rows; j < stride; ++j) {
      CHECK_EQUAL(few[static_cast<size_t>(i * stride + j)], -1.0F);  // nothing past the end
    }
  }

  const int64_t tileRows = gpt2::roundedTileRows();
  const int64_t tileColumns = gpt2::tileColumns();
  products.many.resize(static_cast<size_t>(n * w.rows));
  AlignedBytes panel(gpt2::integerPanelBytes(w.type, w.columns));
  std::vector<float> tile(static_cast<size_t>(tileRows * tileColumns));
  for (int64_t first = 0; first < w.rows; first += tileColumns) {
    gpt2::packIntegerRows(w, first, panel.data());
    for (int64_t i = 0; i < n; i += tileRows) {
      const int64_t count = std::min(tileRows, n - i);
      gpt2::multiplyRoundedTile(row(i), count, panel.data(), w.type, w.columns, tile.data());
      for (int64_t t = 0; t < count; ++t) {
        std::copy_n(tile.data() + t * tileColumns, std::min(tileColumns, w.rows - first),
                    products.many.data() + (i + t) * w.rows + first);
      }
    }
  }
  return products;
}

void checkSame(const Products& products) {
  for (size_t i = 0; i < products.few.size(); ++i) {
    if (std::isnan(products.few[i]) && std::isnan(products.many[i])) continue;
    CHECK_EQUAL(products.few[i], products.many[i]);
  }
}

void check(const Stored& w, const std::vector<float>& x, int64_t n) {
  const Products products = multiply(w.matrix, x, n);
  checkSame(products);
  const std::vector<double> exact = rounded(x);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < w.matrix.rows; ++j) {
      double sum = 0;
      double magnitude = 0;
      for (int64_t k = 0; k < w.matrix.columns; ++k) {
        const double product = exact[static_cast<size_t>(i * w.matrix.columns + k)] *
                               double{w.values[static_cast<size_t>(j * w.matrix.columns + k)]};
        sum += product;
        magnitude += std::abs(product);
      }
      CHECK_NEAR(products.many[static_cast<size_t>(i * w.matrix.rows + j)], sum,
                 1e-6 * magnitude + 1e-12);
    }
  }
}

}  // namespace

TEST(productsOfAnySizeAreExactAndIdentical) {
  for (const ggml_type type : kTypes) {
    const int64_t unit = ggml_blck_size(type);
    for (const int64_t rows : {1, 3, 15, 16, 17, 31, 33, 70}) {
      for (const int64_t blocks : {1, 2, 3, 5}) {
        const int64_t columns = blocks * unit;
        const Stored w = storedMatrix(type, rows, columns);
        for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 11, 13}) {
          check(w, randomFloats(static_cast<size_t>(n * columns), 2), n);
        }
      }
    }
  }
}

// Random bytes: every bit of every type counts, and the elements of W are as large as can be.
TEST(anyBytesAreReadAsGgmlReadsThem) {
  for (const ggml_type type : kTypes) {
    constexpr int64_t kRows = 40;
    const int64_t columns = 2 * std::max<int64_t>(kBlock, ggml_blck_size(type));
    RandomNumbers random(3);
    std::vector<uint8_t> bytes(kRows * ggml_row_size(type, columns));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.below(256));
    // Scales in f16 that are finite.
    const size_t blockBytes = ggml_type_size(type);
    for (size_t block = 0; block < bytes.size(); block += blockBytes) {
      const size_t scale = type == GGML_TYPE_Q6_K ? 208 : 0;
      bytes[block + scale + 1] = static_cast<uint8_t>(bytes[block + scale + 1] & 0xBFU);
      const bool hasMinimum = type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q5_1 ||
                              type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K;
      if (hasMinimum) bytes[block + 3] = static_cast<uint8_t>(bytes[block + 3] & 0xBFU);
    }
    const Stored w(type, bytes, kRows, columns);
    check(w, randomFloats(static_cast<size_t>(8 * columns), 4), 8);
  }
}

// The largest sums of a block: 32 × 127 × 128.
TEST(theLargestProductsDoNotSaturate) {
  constexpr int64_t kColumns = 64;
  for (const int8_t element : {-128, -127, 127}) {
    for (const float sign : {-1.0F, 1.0F}) {
      std::vector<uint8_t> bytes(20 * ggml_row_size(GGML_TYPE_Q8_0, kColumns),
                                 static_cast<uint8_t>(element));
      for (size_t block = 0; block < bytes.size(); block += ggml_type_size(GGML_TYPE_Q8_0)) {
        bytes[block] = 0;  // 1 in f16
        bytes[block + 1] = 0x3C;
      }
      const Stored w(GGML_TYPE_Q8_0, bytes, 20, kColumns);
      const Products products = multiply(w.matrix, std::vector<float>(7 * kColumns, sign * 127), 7);
      checkSame(products);
      for (const float product : products.few) {
        CHECK_EQUAL(product, sign * 127 * static_cast<float>(element) * kColumns);
      }
    }
  }
}

TEST(numbersThatAreNotFiniteStayInTheirRow) {
  const Stored w = storedMatrix(GGML_TYPE_Q8_0, 40, 96);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float number : {std::nanf(""), kInfinity, -kInfinity}) {
    std::vector<float> x = randomFloats(7 * 96, 3);
    x[3 * 96 + 40] = number;
    const Products products = multiply(w.matrix, x, 7);
    checkSame(products);
    for (size_t i = 0; i < products.few.size(); ++i) {
      CHECK_EQUAL(std::isnan(products.few[i]), i / 40 == 3);
    }
  }
}

TEST(zerosAndTheSmallestNumbersGiveZero) {
  const Stored w = storedMatrix(GGML_TYPE_Q4_1, 20, 64);
  for (const float number : {0.0F, -0.0F, std::numeric_limits<float>::denorm_min(), 1e-37F}) {
    const Products products = multiply(w.matrix, std::vector<float>(5 * 64, number), 5);
    checkSame(products);
    for (const float product : products.few) CHECK_EQUAL(product, 0.0F);
  }
}

TEST(theLargestNumbersStayFinite) {
  const Stored w = storedMatrix(GGML_TYPE_Q8_0, 20, 32);
  std::vector<float> x(32, 0.0F);
  x[5] = 1e38F;
  for (const float product : multiply(w.matrix, x, 1).few) CHECK(std::isfinite(product));
}
