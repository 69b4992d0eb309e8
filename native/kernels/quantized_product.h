#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

#include "kernels/matrix_product.h"

// Products x · Wᵀ with quantised weights, in integers. The activations are rounded to 8 bits, with
// a scale for each block of 32 of a row. The products of a block are added up exactly; then, block
// by block from the first to the last,
//
//   sum = (products × the block's scale in W) × the block's scale in x + sum
//   sum = (the block's minimum in W) × (the sum of the block of x) + sum     for types with minima
//
// in f32. So an element of the result has the same bits however many rows x has, and however they
// are computed.

namespace gpt2 {

// Whether a type is multiplied in integers: q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, q5_K and q6_K.
// Matrices of other quantised types are widened to f32 (matrix_product.h).
bool isIntegerType(ggml_type type);

// ---- Rows of x, rounded, in a form that depends on the level.

// A multiple of 64, the alignment that rows need.
size_t roundedRowBytes(int64_t columns);

// columns: a multiple of 32. A block with an element that is not finite makes all results NaN.
void roundRow(const float* x, int64_t columns, uint8_t* rounded);

// ---- Few rows: W is unpacked block by block.

constexpr int kMaxRoundedRowsPerCall = 4;

// out[i][j] = x[i] · w[first + j] for j < count. x: n ≤ kMaxRoundedRowsPerCall rounded rows;
// out: [n, count], rows `outStride` elements apart.
void multiplyRoundedRows(const Matrix& w, int64_t first, int64_t count, const uint8_t* x, int n,
                         float* out, size_t outStride);

// ---- Many rows: W is unpacked into panels of tileColumns() rows.

size_t integerPanelBytes(ggml_type type, int64_t columns);

// Unpacks rows [first, first + tileColumns()) of w; beyond the end of w, its last row stands in for
// the missing ones. panel: aligned to 64 bytes.
void packIntegerRows(const Matrix& w, int64_t first, uint8_t* panel);

// The number of rows that multiplyRoundedTile() takes at most.
int64_t roundedTileRows() noexcept;

// out[i][j] for i < rows ≤ roundedTileRows(), j < tileColumns(), rows tileColumns() apart.
// x: rounded rows of `columns` elements; type: that of the panel's matrix.
void multiplyRoundedTile(const uint8_t* x, int64_t rows, const uint8_t* panel, ggml_type type,
                         int64_t columns, float* out);

}  // namespace gpt2
