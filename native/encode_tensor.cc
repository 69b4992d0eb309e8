#include "encode_tensor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "cpu_count.h"
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

// Calls work(first, count) for all rows, `step` at a time, on as many threads as there are
// processors and the system grants. Throws ABORTED.
template <class Work>
void onAllProcessors(int64_t rows, int64_t step, const CancelFlag* cancelled, const Work& work) {
  std::atomic<int64_t> next{0};
  const auto takePart = [&]() noexcept {
    for (;;) {
      const int64_t first = next.fetch_add(step);
      if (first >= rows || (cancelled != nullptr && cancelled->load())) return;
      work(first, std::min(step, rows - first));
    }
  };
  const int64_t chunks = (rows + step - 1) / step;
  static const int processors = physicalCpuCount();
  const int64_t threads = std::min<int64_t>(processors, chunks);
  std::vector<std::thread> helpers;
  try {
    for (int64_t i = 1; i < threads; ++i) helpers.emplace_back(takePart);
  } catch (const std::exception&) {
    // With fewer, then.
  }
  takePart();
  for (std::thread& helper : helpers) helper.join();
  throwIfCancelled(cancelled);
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
  if (!canWiden(source.type)) {
    throw Error(code::kUnsupportedModel, "numbers of the type " + typeName(source.type));
  }
  const int64_t sourceBlock = ggml_blck_size(source.type);
  const bool fits = sized && sourceBlock > 0 && source.columns % sourceBlock == 0 &&
                    source.byteSize == ggml_row_size(source.type, source.columns) *
                                           static_cast<size_t>(source.rows);
  if (!fits) {
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
  onAllProcessors(rows, step, cancelled, [&](int64_t row, int64_t some) noexcept {
    ggml_quantize_chunk(type, numbers.data() + row * rowLength,
                        encoded.data() + static_cast<size_t>(row) * rowBytes, 0, some, rowLength,
                        nullptr);
  });
  if (type != source.type) {
    widen(type, encoded.data(), numbers.data(), count);
    checkFinite(numbers.data(), numbers.size(), type);
  }
  return encoded;
}

}  // namespace gpt2
