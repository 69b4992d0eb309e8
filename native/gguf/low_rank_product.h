#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace gpt2 {

// The product of two matrices in f32, to be added to a matrix: LoRA (Hu et al. 2021, section 4.1).
struct LowRankProduct {
  const float* left;   // [rows, rank]
  const float* right;  // [rank, columns]
  int64_t rows;
  int64_t rank;
  int64_t columns;
  float factor;
};

// Adds factor × left × right to `numbers`, [rows, columns] in f32. The sum of a product is added up
// in the order of the ranks, so the result does not depend on the number of threads. Throws
// ABORTED.
void addLowRankProduct(const LowRankProduct& product, float* numbers, ThreadPool& pool,
                       const CancelFlag* cancelled);

}  // namespace gpt2
