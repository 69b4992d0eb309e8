#include "encode_tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "tensor_type.h"

namespace gpt2 {

namespace {

// In tiles, since a walk down a column touches a new cache line at every step.
// from: [rows][columns] → to: [columns][rows]
template <typename T>
void transposeInto(const T* from, int64_t rows, int64_t columns, T* to) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t r1 = std::min(r0 + kTile, rows);
      const int64_t c1 = std::min(c0 + kTile, columns);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

// A number that the type cannot hold would become an infinity, spoil the scale of its block or
// vanish.
void checkFinite(const float* numbers, size_t count, ggml_type type) {
  if (std::all_of(numbers, numbers + count, [](float number) { return std::isfinite(number); })) {
    return;
  }
  throw Error(code::kInvalidFile, "it holds numbers that are not finite in " + typeName(type));
}

}  // namespace

std::vector<uint8_t> encodeTensor(const SourceTensor& source, ggml_type type,
                                  const CancelFlag* cancelled) {
  constexpr int64_t kMost =
      std::numeric_limits<int32_t>::max();  // so that the product cannot overflow
  const bool sized =
      source.rows >= 1 && source.rows <= kMost && source.columns >= 1 && source.columns <= kMost;
  const int64_t count = sized ? source.rows * source.columns : 0;
  const int64_t rows = source.transpose ? source.columns : source.rows;
  const int64_t rowLength = source.transpose ? source.rows : source.columns;
  if (!sized || source.byteSize != static_cast<size_t>(count) * ggml_type_size(source.type)) {
    throw Error(code::kInvalidArgument, "Expected the bytes of " + std::to_string(source.rows) +
                                            " × " + std::to_string(source.columns) +
                                            " numbers but received " +
                                            std::to_string(source.byteSize) + " bytes");
  }
  if (ggml_blck_size(type) == 0 || rowLength % ggml_blck_size(type) != 0) {
    throw Error(code::kInvalidArgument, "Expected rows that are a multiple of " +
                                            std::to_string(ggml_blck_size(type)) +
                                            " long but received " + std::to_string(rowLength));
  }

  // Copied first: the bytes may start anywhere, and numbers are read from aligned memory.
  std::vector<float> numbers(static_cast<size_t>(count));
  {
    std::vector<uint8_t> aligned(source.data, source.data + source.byteSize);
    widen(source.type, aligned.data(), numbers.data(), count);
  }
  if (type != source.type) checkFinite(numbers.data(), numbers.size(), source.type);
  if (source.transpose) {
    std::vector<float> transposed(numbers.size());
    transposeInto(numbers.data(), source.rows, source.columns, transposed.data());
    numbers.swap(transposed);
  }
  const size_t rowBytes = ggml_row_size(type, rowLength);
  std::vector<uint8_t> encoded(rowBytes * static_cast<size_t>(rows));
  // Some rows between two looks at the flag: the finer types take a millisecond for 10,000 numbers.
  constexpr int64_t kNumbersAtOnce = 1 << 16;
  const int64_t step = std::max<int64_t>(1, kNumbersAtOnce / rowLength);
  for (int64_t row = 0; row < rows; row += step) {
    throwIfCancelled(cancelled);
    ggml_quantize_chunk(type, numbers.data() + row * rowLength,
                        encoded.data() + static_cast<size_t>(row) * rowBytes, 0,
                        std::min(step, rows - row), rowLength, nullptr);
  }
  if (type != source.type) {
    widen(type, encoded.data(), numbers.data(), count);
    checkFinite(numbers.data(), numbers.size(), type);
  }
  return encoded;
}

}  // namespace gpt2
