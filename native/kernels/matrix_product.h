#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

// Products of activations with matrices as they are stored in the file or the cache: x · Wᵀ for
// weights, x · W for keys and values. Every element of the result is the same sum in the same order
// however many rows x has, so evaluating tokens one at a time gives the same bits as evaluating
// them together.

namespace gpt2 {

// The second factor: `rows` rows of `columns` elements.
struct Matrix {
  const void* data;
  size_t rowBytes;  // from row to row
  ggml_type type;
  int64_t rows;
  int64_t columns;
};

// The order of a sum, in f32; each step rounds once.
enum class SumOrder {
  // From the first product to the last. Used for x · W: rows of W are added up without packing.
  kSequential,
  // One sum for each lane of a vector, lane l over the products l, l + lanes, l + 2 lanes, …; then
  // the sum of the lanes. Used for x · Wᵀ: rows of W are multiplied without packing.
  kByLane,
};

// Whether the type is f32, f16 or bf16, whose elements are loaded without unpacking a block. Other
// types are multiplied as packed panels only.
bool isFloatType(ggml_type type);

// ---- Unpacked (levels/matrix_product_rows.h): for few rows of x. W is read once, from where it is
// stored, and x is read again for each row of W.

constexpr int kMaxRowsPerCall = 4;

// By lane: out[i][j] = x[i] · w[first + j] for j < count. x: [n, columns], n ≤ kMaxRowsPerCall,
// rows `xStride` elements apart; out: [n, count], rows `outStride` elements apart. w: a float type.
void multiplyRows(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                  int n, float* out, size_t outStride);

// Sequentially: out[j] += x[0] × w[0][j], then x[1] × w[1][j], … for all columns of w, so that the
// rows can be divided among several calls. w: a float type. next: the data of the matrix that the
// caller reads next, of the same row length, which is fetched meanwhile; any address will do.
void addWeightedRows(const Matrix& w, const float* x, float* out, const void* next);

// ---- Packed (levels/matrix_product_packed.h): for many rows of x. Both factors are packed, so
// that a tile of the result fits the registers (Goto & van de Geijn 2008).

int64_t tileRows() noexcept;
int64_t tileColumns() noexcept;

// The place of a column among `columns` columns that are packed in this order.
int64_t packedIndex(int64_t column, int64_t columns, SumOrder order) noexcept;

// Packs rows [first, first + tileColumns()) of w as a panel, by lane: [columns][tileColumns()],
// with zeros beyond the last row of w. scratch: tileColumns() × columns floats, used if w is
// quantised.
void packRows(const Matrix& w, int64_t first, float* panel, float* scratch);

// Packs columns [first, first + tileColumns()) of w as a panel: [rows of w][tileColumns()], with
// zeros beyond the last column of w. w: a float type.
void packColumns(const Matrix& w, int64_t first, float* panel);

// Columns [first, first + count) of the `all` columns of a tile.
struct PackedColumns {
  int64_t first;
  int64_t count;
  int64_t all;
};

// Packs rows of x, [n, columns.count], as these columns of tiles: [n / tileRows(), rounded up]
// [columns.all][tileRows()]; the last tile is filled up with zeros. xStride: from row to row, in
// elements.
void packTiles(const float* x, size_t xStride, int64_t n, PackedColumns columns, SumOrder order,
               float* packed);

// Computes one tile of the result: out[i][j] for i < rows ≤ tileRows(), j < tileColumns(), rows
// `outStride` elements apart. tile: [columns][tileRows()]. Rows of `tile` beyond `rows` may hold
// anything; those of `out`, up to tileRows(), are unspecified.
void multiplyTile(const float* tile, const float* panel, int64_t columns, int64_t rows,
                  SumOrder order, float* out, size_t outStride);

// Continues the sums of a row of a tile sequentially: out[j] += x[k] × panel[k][j] for
// j < tileColumns().
void accumulateRow(const float* x, const float* panel, int64_t columns, float* out);

}  // namespace gpt2
