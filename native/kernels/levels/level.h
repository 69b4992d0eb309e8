#pragma once

// Defines the kernels of one level. A file for each level includes this one, is compiled with the
// level's instruction sets (native/CMakeLists.txt) and defines
//   GPT2_LEVEL       the namespace of the level
//   GPT2_LEVEL_NAME  its name

#include "kernels/kernels.h"
#include "kernels/levels/matrix_product_packed.h"
#include "kernels/levels/matrix_product_rows.h"
#include "kernels/levels/quantized_product.h"
#include "kernels/levels/row_functions.h"
#include "kernels/levels/transpose.h"
#include "kernels/levels/widen_row.h"

namespace gpt2::GPT2_LEVEL {

extern const Kernels kKernels;
const Kernels kKernels{
    GPT2_LEVEL_NAME,   kTileRows,       kTileColumns,
    kRoundedTileRows,  multiplyRows,    addWeightedRows,
    packedIndex,       packRows,        packColumns,
    packTiles,         multiplyTile,    accumulateRow,
    roundedRowBytes,   roundRow,        multiplyRoundedRows,
    integerPanelBytes, packIntegerRows, multiplyRoundedTile,
    normalize,         applyEpilogue,   roundToF16,
    largest,           areFinite,       sumInDouble,
    expSums,           countAbove,      countAtLeast,
    softmax,           transpose,       widenRow,
};

}  // namespace gpt2::GPT2_LEVEL
