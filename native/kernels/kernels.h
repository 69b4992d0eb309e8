#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/matrix_product.h"
#include "kernels/quantized_product.h"
#include "kernels/row_functions.h"
#include "kernels/transpose.h"
#include "kernels/widen_row.h"

namespace gpt2 {

// The kernels of one level, that is, compiled for one set of instruction sets. matrix_product.h,
// quantized_product.h, row_functions.h, transpose.h and widen_row.h describe the functions and call
// those of the chosen level. Each level is compiled once, in a namespace of its own (levels/): an
// inline function that two levels shared would be linked from either of them.
struct Kernels {
  const char* level;  // "x86-64-v2", …
  int64_t tileRows;
  int64_t tileColumns;
  int64_t roundedTileRows;

  decltype(&gpt2::multiplyRows) multiplyRows;
  decltype(&gpt2::addWeightedRows) addWeightedRows;
  decltype(&gpt2::packedIndex) packedIndex;
  decltype(&gpt2::packRows) packRows;
  decltype(&gpt2::packColumns) packColumns;
  decltype(&gpt2::packTiles) packTiles;
  decltype(&gpt2::multiplyTile) multiplyTile;
  decltype(&gpt2::accumulateRow) accumulateRow;

  decltype(&gpt2::roundedRowBytes) roundedRowBytes;
  decltype(&gpt2::roundRow) roundRow;
  decltype(&gpt2::multiplyRoundedRows) multiplyRoundedRows;
  decltype(&gpt2::integerPanelBytes) integerPanelBytes;
  decltype(&gpt2::packIntegerRows) packIntegerRows;
  decltype(&gpt2::multiplyRoundedTile) multiplyRoundedTile;

  decltype(&gpt2::normalize) normalize;
  decltype(&gpt2::applyEpilogue) applyEpilogue;
  decltype(&gpt2::roundToF16) roundToF16;
  decltype(&gpt2::largest) largest;
  decltype(&gpt2::areFinite) areFinite;
  decltype(&gpt2::sumInDouble) sumInDouble;
  decltype(&gpt2::expSums) expSums;
  decltype(&gpt2::countAbove) countAbove;
  decltype(&gpt2::countAtLeast) countAtLeast;
  decltype(&gpt2::softmax) softmax;

  decltype(&gpt2::transpose) transpose;
  decltype(&gpt2::widenRow) widenRow;
};

// The kernels of the best level that this processor has, or of the level that the environment
// variable GPT2_NATIVE_KERNELS names. Chosen when the library is loaded.
const Kernels& kernels() noexcept;

// A level of this binary, and why it is not used: it is not chosen, or the processor lacks
// instruction sets.
struct KernelLevel {
  std::string name;
  std::string missing;  // names of instruction sets, separated by commas; empty: the level can run
};

// The levels of this binary, the best first.
std::vector<KernelLevel> kernelLevels();

// Throws INVALID_ARGUMENT if GPT2_NATIVE_KERNELS names an unknown level, or one that this processor
// cannot run.
void checkKernelChoice();

}  // namespace gpt2
