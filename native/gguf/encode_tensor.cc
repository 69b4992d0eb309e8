#include "gguf/encode_tensor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "base/cpu_count.h"
#include "base/error.h"
#include "base/tensor_type.h"

namespace gpt2 {

namespace {

// One thread's room for some rows of the target.
struct Room {
  std::vector<uint8_t> aligned;  // the source's bytes may start anywhere
  std::vector<float> line;       // of a source that is transposed: a part of one of its rows
  std::vector<float> numbers;
};

// Some rows of the target in f32, read from the source.
void readRows(const SourceTensor& source, int64_t first, int64_t count, Room& room) {
  const auto read = [&](int64_t index, int64_t length, float* out) {
    const uint8_t* from = source.data + ggml_row_size(source.type, index);
    std::copy(from, from + ggml_row_size(source.type, length), room.aligned.begin());
    widen(source.type, room.aligned.data(), out, length);
  };
  if (!source.transpose) {
    read(first * source.columns, count * source.columns, room.numbers.data());
    return;
  }
  for (int64_t row = 0; row < source.rows; ++row) {
    read(row * source.columns + first, count, room.line.data());
    for (int64_t i = 0; i < count; ++i) {
      room.numbers[static_cast<size_t>(i * source.rows + row)] = room.line[static_cast<size_t>(i)];
    }
  }
}

// A number that the type cannot hold would become an infinity, spoil the scale of its block or
// vanish.
bool areFinite(const float* numbers, int64_t count) {
  return std::all_of(numbers, numbers + count, [](float number) { return std::isfinite(number); });
}

// Calls work(thread, first, count) for all rows, `step` at a time, on at most so many threads, as
// many as the system grants. Throws ABORTED.
template <class Work>
void onThreads(int64_t threads, int64_t rows, int64_t step, const CancelFlag* cancelled,
               const Work& work) {
  std::atomic<int64_t> next{0};
  const auto takePart = [&](size_t thread) noexcept {
    for (;;) {
      const int64_t first = next.fetch_add(step);
      if (first >= rows || (cancelled != nullptr && cancelled->load())) return;
      work(thread, first, std::min(step, rows - first));
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (int64_t i = 1; i < threads; ++i) helpers.emplace_back(takePart, i);
  } catch (const std::exception&) {
    // With fewer, then.
  }
  takePart(0);
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
  const int64_t rows = source.transpose ? source.columns : source.rows;
  const int64_t rowLength = source.transpose ? source.rows : source.columns;
  if (!canWiden(source.type)) {
    throw Error(code::kUnsupportedModel, "numbers of the type " + typeName(source.type));
  }
  const int64_t sourceBlock = ggml_blck_size(source.type);
  if (source.transpose && sourceBlock > 1) {
    throw Error(code::kUnsupportedModel,
                "a matrix of the type " + typeName(source.type) + " that is to be transposed");
  }
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

  // Some rows between two looks at the flag: the finer types take a millisecond for 10,000 numbers.
  // A transposed source is read in pieces of its rows as long as these are many.
  constexpr int64_t kNumbersAtOnce = 1 << 16;
  constexpr int64_t kLeastPiece = 32;
  const int64_t step = std::min(
      rows, std::max<int64_t>(source.transpose ? kLeastPiece : 1, kNumbersAtOnce / rowLength));
  static const int processors = physicalCpuCount();
  const int64_t threads = std::min<int64_t>(processors, (rows + step - 1) / step);
  const auto numbersAtOnce = static_cast<size_t>(step * rowLength);
  const size_t readAtOnce =
      ggml_row_size(source.type, source.transpose ? step : step * source.columns);
  std::vector<Room> rooms(static_cast<size_t>(threads));
  for (Room& room : rooms) {
    room.aligned.resize(readAtOnce);
    room.line.resize(source.transpose ? static_cast<size_t>(step) : 0);
    room.numbers.resize(numbersAtOnce);
  }

  const size_t rowBytes = ggml_row_size(type, rowLength);
  std::vector<uint8_t> encoded(rowBytes * static_cast<size_t>(rows));
  std::atomic<bool> sourceIsFinite{true};
  std::atomic<bool> targetIsFinite{true};
  onThreads(threads, rows, step, cancelled,
            [&](size_t thread, int64_t first, int64_t some) noexcept {
              Room& room = rooms[thread];
              float* numbers = room.numbers.data();
              uint8_t* out = encoded.data() + static_cast<size_t>(first) * rowBytes;
              readRows(source, first, some, room);
              if (type != source.type && !areFinite(numbers, some * rowLength)) {
                sourceIsFinite = false;
                return;
              }
              ggml_quantize_chunk(type, numbers, out, 0, some, rowLength, nullptr);
              if (type == source.type) return;
              widen(type, out, numbers, some * rowLength);
              if (!areFinite(numbers, some * rowLength)) targetIsFinite = false;
            });
  if (!sourceIsFinite || !targetIsFinite) {
    throw Error(code::kInvalidFile, "it holds numbers that are not finite in " +
                                        typeName(sourceIsFinite ? type : source.type));
  }
  return encoded;
}

}  // namespace gpt2
