#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

// Products of activations with matrices that lie in memory as the file or the cache has them: x ·
// Wᵀ for weights, x · W for keys and values. However many rows x has, an element of the result is
// the same sum in the same order, so that one token at a time gives the same bits as many at once.

namespace gpt2 {

// The second factor: `rows` rows of `columns` numbers of a type that can be widened.
struct Matrix {
  const void* data;
  size_t rowBytes;  // from row to row
  ggml_type type;
  int64_t rows;
  int64_t columns;
};

// The order of a sum, in f32, each step rounded once.
enum class Order {
  // From the first product to the last: of x · W, so that rows of W are added up as they lie.
  kSequential,
  // A sum for each lane of a vector, lane l over the products l, l + lanes, l + 2 lanes, …; then
  // the
  // sums of the lanes: of x · Wᵀ, so that rows of W are multiplied as they lie.
  kByLane,
};

// Whether products read rows of this type where they lie, else only packed panels.
bool isReadInPlace(ggml_type type);

// ---- Few rows of x: W is read once, from where it lies, and x is read again for each of its rows.

constexpr int kFewRows = 4;

// By lane: out[i][j] = x[i] · w[first + j] for j < count. x: [n, columns], rows `xStride` numbers
// apart, n ≤ kFewRows; out: [n, count], rows `outStride` numbers apart.
void multiplyFew(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                 int n, float* out, size_t outStride);

// out[j] = x[0] × w[0][j] + x[1] × w[1][j] + … for all columns of w, sequentially. Of types that
// are read in place.
void sumRows(const Matrix& w, const float* x, float* out);

// ---- Many rows: both factors are packed, so that a tile of the result fits the registers.

int64_t tileRows() noexcept;
int64_t tileColumns() noexcept;

// Where a column stands among `columns` that are packed in this order.
int64_t packedPlace(int64_t column, int64_t columns, Order order) noexcept;

// Rows [first, first + tileColumns()) of w as a panel, by lane: [columns][tileColumns()], zeros
// where w has no more rows. scratch: tileColumns() × columns floats, used for quantised types.
void packRows(const Matrix& w, int64_t first, float* panel, float* scratch);

// Columns [first, first + tileColumns()) of w as a panel: [rows of w][tileColumns()], zeros where w
// has no more columns. Of types that are read in place.
void packColumns(const Matrix& w, int64_t first, float* panel);

// Rows of x as tiles: [n / tileRows(), rounded up][columns][tileRows()]; what fills the last tile
// is zero.
void packTiles(const float* x, size_t xStride, int64_t n, int64_t columns, Order order,
               float* packed);

// One tile of the result: out[i][j] for i < rows ≤ tileRows(), j < tileColumns(), rows
// tileColumns() apart. tile: [columns][tileRows()]; what is beyond `rows` may be anything, in `out`
// too.
void multiplyTile(const float* tile, const float* panel, int64_t columns, int64_t rows, Order order,
                  float* out);

// Goes on sequentially with a row of a tile: out[j] += x[k] × panel[k][j] for j < tileColumns().
void continueRow(const float* x, const float* panel, int64_t columns, float* out);

}  // namespace gpt2
