#pragma once

#include "base/tensor_type.h"
#include "kernels/levels/matrix_loaders.h"
#include "kernels/levels/simd.h"

namespace gpt2::GPT2_LEVEL {

namespace {

template <class Loader>
void widenFloats(const void* from, float* to, int64_t count) {
  const auto* elements = static_cast<const typename Loader::Element*>(from);
  int64_t i = 0;
  for (; i + simd::kLanes <= count; i += simd::kLanes) {
    simd::store(to + i, Loader::load(elements + i));
  }
  if (i == count) return;
  float edge[simd::kLanes];
  simd::store(edge, Loader::loadUpTo(elements + i, count - i));
  for (int64_t j = 0; i + j < count; ++j) to[i + j] = edge[j];
}

}  // namespace

void widenRow(ggml_type type, const void* from, float* to, int64_t count) {
  switch (type) {
    case GGML_TYPE_F16:
      return widenFloats<F16Loader>(from, to, count);
    case GGML_TYPE_BF16:
      return widenFloats<Bf16Loader>(from, to, count);
    default:
      return widen(type, from, to, count);
  }
}

}  // namespace gpt2::GPT2_LEVEL
