#include "gguf/encode_tensor.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/tensor_type.h"
#include "kernels/row_functions.h"
#include "kernels/transpose.h"

namespace gpt2 {

namespace {

// Throws unless the source's bytes, its shape and the target's type fit each other.
void check(const SourceTensor& source, ggml_type type) {
  if (!canWiden(source.type)) {
    throw Error(code::kUnsupportedModel,
                "numbers of type " + typeName(source.type) + " cannot be converted");
  }
  if (source.transpose && ggml_blck_size(source.type) > 1) {
    throw Error(code::kUnsupportedModel,
                "a matrix of type " + typeName(source.type) + " cannot be transposed");
  }
  if (!canEncode(type)) {
    throw Error(code::kInvalidArgument, "tensors cannot be encoded in " + typeName(type));
  }
  checkShape(source.type, source.rows, source.columns, source.transpose, type);
  const size_t rowBytes = ggml_row_size(source.type, source.columns);
  const size_t expected = rowBytes * static_cast<size_t>(source.rows);
  if (source.byteSize != expected) {
    throw Error(code::kInvalidArgument, "expected " + std::to_string(expected) +
                                            " bytes but received " +
                                            std::to_string(source.byteSize));
  }
}

// Encodes some rows of the target in each chunk.
class EncodeStep final : public Step {
 public:
  EncodeStep(const SourceTensor& source, ggml_type type)
      : source_(source),
        type_(type),
        rows_(source.transpose ? source.columns : source.rows),
        rowLength_(source.transpose ? source.rows : source.columns),
        rowBytes_(ggml_row_size(type, rowLength_)),
        encoded_(rowBytes_ * static_cast<size_t>(rows_)) {
    // Bounds the delay of a cancellation: k-quants take a millisecond for 10,000 numbers.
    constexpr int64_t kNumbersPerChunk = 1 << 16;
    // A transposed source is read in pieces of its rows; short pieces would waste cache lines.
    constexpr int64_t kMinPiece = 32;
    rowsPerChunk_ = std::min(
        rows_, std::max<int64_t>(source.transpose ? kMinPiece : 1, kNumbersPerChunk / rowLength_));
  }

  std::string name() const override { return "encode"; }
  int chunks() const override {
    return static_cast<int>((rows_ + rowsPerChunk_ - 1) / rowsPerChunk_);
  }
  size_t scratch() const override { return numberCount() + piecesLength() + alignedLength(); }

  void run(int chunk, float* scratch) const noexcept override {
    const int64_t first = chunk * rowsPerChunk_;
    const int64_t rows = std::min(rowsPerChunk_, rows_ - first);
    const int64_t count = rows * rowLength_;
    float* numbers = scratch;
    uint8_t* out = encoded_.data() + static_cast<size_t>(first) * rowBytes_;
    readRows(first, rows, scratch);
    // A number that the type cannot hold would become infinite, spoil the scale of its block or
    // vanish.
    if (type_ != source_.type && !areFinite(numbers, count)) {
      isSourceFinite_ = false;
      return;
    }
    ggml_quantize_chunk(type_, numbers, out, 0, rows, rowLength_, nullptr);
    if (type_ == source_.type) return;
    widen(type_, out, numbers, count);
    if (!areFinite(numbers, count)) isTargetFinite_ = false;
  }

  // The result of all chunks. Throws INVALID_FILE.
  std::vector<uint8_t> take() {
    if (!isSourceFinite_ || !isTargetFinite_) {
      throw Error(code::kInvalidFile, "it holds numbers that are not finite in " +
                                          typeName(isSourceFinite_ ? type_ : source_.type));
    }
    return std::move(encoded_);
  }

 private:
  // The parts of the scratch memory, in floats: the rows of a chunk in f32; pieces of source rows
  // that are transposed together; the source's bytes, which may start at any address.
  size_t numberCount() const { return static_cast<size_t>(rowsPerChunk_ * rowLength_); }
  int64_t piecesAtOnce() const {
    constexpr int64_t kMaxPieces = 32;
    return source_.transpose ? std::min(kMaxPieces, source_.rows) : 0;
  }
  size_t piecesLength() const { return static_cast<size_t>(piecesAtOnce() * rowsPerChunk_); }
  size_t alignedLength() const {
    const int64_t count = source_.transpose ? rowsPerChunk_ : rowsPerChunk_ * rowLength_;
    return ggml_row_size(source_.type, count) / sizeof(float) + 1;
  }

  // Widens rows `first` to `first + rows` of the target to the start of the scratch memory.
  void readRows(int64_t first, int64_t rows, float* scratch) const {
    float* numbers = scratch;
    float* pieces = numbers + numberCount();
    float* aligned = pieces + piecesLength();
    const auto read = [&](int64_t index, int64_t length, float* out) {
      std::memcpy(aligned, source_.data + ggml_row_size(source_.type, index),
                  ggml_row_size(source_.type, length));
      widen(source_.type, aligned, out, length);
    };
    if (!source_.transpose) {
      read(first * rowLength_, rows * rowLength_, numbers);
      return;
    }
    for (int64_t row = 0; row < source_.rows; row += piecesAtOnce()) {
      const int64_t count = std::min(piecesAtOnce(), source_.rows - row);
      for (int64_t i = 0; i < count; ++i) {
        read((row + i) * source_.columns + first, rows, pieces + i * rows);
      }
      transpose(pieces, static_cast<size_t>(rows), count, rows, numbers + row,
                static_cast<size_t>(rowLength_));
    }
  }

  const SourceTensor& source_;
  ggml_type type_;
  int64_t rows_, rowLength_;  // of the target
  int64_t rowsPerChunk_ = 1;
  size_t rowBytes_;
  mutable std::vector<uint8_t> encoded_;
  mutable std::atomic<bool> isSourceFinite_{true};
  mutable std::atomic<bool> isTargetFinite_{true};
};

}  // namespace

void checkShape(ggml_type source, int64_t rows, int64_t columns, bool transpose, ggml_type target) {
  constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
  const auto isExtent = [](int64_t extent) { return extent >= 1 && extent <= kMaxExtent; };
  const auto fits = [](int64_t rowLength, ggml_type type) {
    return ggml_blck_size(type) > 0 && rowLength % ggml_blck_size(type) == 0;
  };
  if (isExtent(rows) && isExtent(columns) && fits(columns, source) &&
      fits(transpose ? rows : columns, target)) {
    return;
  }
  throw Error(code::kInvalidArgument,
              "expected rows of whole " + typeName(target) + " blocks but received " +
                  std::to_string(rows) + " × " + std::to_string(columns) + " numbers in " +
                  typeName(source) + (transpose ? ", to be transposed" : ""));
}

std::vector<uint8_t> encodeTensor(const SourceTensor& source, ggml_type type, ThreadPool& pool,
                                  const CancelFlag* cancelled) {
  check(source, type);
  EncodeStep step(source, type);
  pool.run({&step}, cancelled);
  return step.take();
}

}  // namespace gpt2
