#include "gguf/write_gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <string_view>
#include <utility>

#include "base/cpu_count.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "gguf/encode_tensor.h"
#include "gguf/low_rank_product.h"
#include "gguf/normal_numbers.h"
#include "io/output_file.h"
#include "kernels/kernels.h"

namespace gpt2 {

namespace {

constexpr uint64_t kAlignment = 32;
// Bytes that are read and encoded at a time. Bounds the memory and the delay of a cancellation.
constexpr uint64_t kChunkBytes = uint64_t{8} << 20;

// Starts a pool of `threads` threads or, if the system does not grant them, of a half, a quarter …
std::unique_ptr<ThreadPool> startPool(int threads) {
  for (;; threads /= 2) {
    try {
      return std::make_unique<ThreadPool>(threads);
    } catch (const Error&) {
      if (threads <= 1) throw;
    }
  }
}

// The type in which the numbers of a part are encoded. ggml does not widen f64.
ggml_type readType(const TensorPart& part) {
  return part.type == GGML_TYPE_F64 ? GGML_TYPE_F32 : part.type;
}

// Throws INVALID_ARGUMENT unless the strides lead to numbers within the file, so that products of
// strides and extents cannot overflow. Numbers that strides of 0 repeat are not limited by the
// file, so the size of the part is checked as well.
void checkStrides(const TensorPart& part) {
  constexpr int64_t kMaxNumbers = std::numeric_limits<int64_t>::max() / sizeof(double);
  if (part.rows > kMaxNumbers / part.columns) {
    throw Error(code::kInvalidArgument, "expected at most " + std::to_string(kMaxNumbers) +
                                            " numbers but received " + std::to_string(part.rows) +
                                            " × " + std::to_string(part.columns));
  }
  if (part.isContiguous()) return;
  const uint64_t numbers = part.file->size() / ggml_type_size(part.type);
  const auto fits = [&](int64_t stride, int64_t extent) {
    return stride >= 0 && (extent < 2 || static_cast<uint64_t>(stride) <=
                                             numbers / static_cast<uint64_t>(extent - 1));
  };
  if (ggml_blck_size(part.type) == 1 && ggml_type_size(part.type) > 1 &&
      fits(part.rowStride, part.rows) && fits(part.columnStride, part.columns)) {
    return;
  }
  throw Error(code::kInvalidArgument, "expected strides within the file but received " +
                                          std::to_string(part.rowStride) + " and " +
                                          std::to_string(part.columnStride));
}

// Copies `rows` rows of a part, whose bytes begin at `bytes`, without gaps. Widths: 2, 4 or 8
// bytes.
template <typename Number>
std::vector<uint8_t> gather(const TensorPart& part, int64_t rows, const uint8_t* bytes) {
  std::vector<uint8_t> out(static_cast<size_t>(rows * part.columns) * sizeof(Number));
  uint8_t* next = out.data();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < part.columns; ++column) {
      const auto at = static_cast<size_t>(row * part.rowStride + column * part.columnStride);
      std::memcpy(next, bytes + at * sizeof(Number), sizeof(Number));
      next += sizeof(Number);
    }
  }
  return out;
}

std::vector<uint8_t> gatherRows(const TensorPart& part, int64_t rows, std::vector<uint8_t> bytes) {
  if (part.isContiguous()) return bytes;
  switch (ggml_type_size(part.type)) {
    case 2:
      return gather<uint16_t>(part, rows, bytes.data());
    case 4:
      return gather<uint32_t>(part, rows, bytes.data());
    default:
      return gather<uint64_t>(part, rows, bytes.data());
  }
}

// Rounds f64 to f32. Throws INVALID_FILE if a number does not fit.
std::vector<uint8_t> roundToF32(const std::vector<uint8_t>& doubles) {
  std::vector<uint8_t> floats(doubles.size() / 2);
  for (size_t i = 0; i < floats.size() / sizeof(float); ++i) {
    double number = 0;
    std::memcpy(&number, doubles.data() + i * sizeof(double), sizeof(double));
    // The largest f64 that rounds to a finite f32 is below FLT_MAX plus half a unit in its last
    // place.
    constexpr double kLimit = 3.4028235677973366e38;
    if (!(std::abs(number) < kLimit)) {
      throw Error(code::kInvalidFile, "it holds numbers that are not finite in f32");
    }
    const auto rounded = static_cast<float>(number);
    std::memcpy(floats.data() + i * sizeof(float), &rounded, sizeof(float));
  }
  return floats;
}

// The shape of a part after its transposition.
int64_t rowsOf(const TensorPart& part) { return part.transpose ? part.columns : part.rows; }
int64_t rowLengthOf(const TensorPart& part) { return part.transpose ? part.rows : part.columns; }

void checkPart(const TensorPart& part, ggml_type type) {
  checkShape(part.type, part.rows, part.columns, part.transpose, type);
  checkStrides(part);
}

// Throws INVALID_ARGUMENT unless the updates fit the rows of the parts.
void checkUpdates(const std::vector<TensorPart>& parts, const std::vector<LowRankUpdate>& updates) {
  int64_t rows = 0;
  for (const TensorPart& part : parts) rows += rowsOf(part);
  for (const auto& [left, right, factor, firstRow] : updates) {
    checkPart(left, GGML_TYPE_F32);
    checkPart(right, GGML_TYPE_F32);
    const auto hasLengthOfRight = [&right = right](const TensorPart& part) {
      return rowLengthOf(part) == rowLengthOf(right);
    };
    if (std::all_of(parts.begin(), parts.end(), hasLengthOfRight) &&
        rowLengthOf(left) == rowsOf(right) && firstRow >= 0 && firstRow <= rows - rowsOf(left)) {
      continue;
    }
    const auto shape = [](const TensorPart& part) {
      return "[" + std::to_string(rowsOf(part)) + ", " + std::to_string(rowLengthOf(part)) + "]";
    };
    throw Error(code::kInvalidArgument, "expected an update of its " + std::to_string(rows) +
                                            " rows but received " + shape(left) + " × " +
                                            shape(right) + " from row " + std::to_string(firstRow));
  }
}

// Checked before the file is created.
void checkShapes(const TensorTarget& tensor) {
  if (const auto* parts = std::get_if<std::vector<TensorPart>>(&tensor.numbers)) {
    for (const TensorPart& part : *parts) checkPart(part, tensor.type);
    checkUpdates(*parts, tensor.updates);
  } else if (const auto* drawn = std::get_if<DrawnNumbers>(&tensor.numbers)) {
    checkShape(GGML_TYPE_F32, drawn->rows, drawn->columns, false, tensor.type);
  } else {
    const int64_t count = std::get<EqualNumbers>(tensor.numbers).count;
    checkShape(GGML_TYPE_F32, 1, count, false, tensor.type);
  }
}

void checkTarget(const TensorTarget& tensor) {
  try {
    checkShapes(tensor);
  } catch (const Error& error) {
    throw Error(error.code(), "the tensor \"" + tensor.name + "\": " + error.what());
  }
}

// Writes one tensor after the other, in chunks of bounded size.
class TensorWriter {
 public:
  TensorWriter(OutputFile& out, ThreadPool& pool, const std::function<void(uint64_t)>& onProgress,
               const CancelFlag* cancelled)
      : out_(out), pool_(pool), onProgress_(onProgress), cancelled_(cancelled) {}

  void write(const TensorTarget& tensor);

 private:
  // Receives encoded bytes.
  using Append = std::function<void(const uint8_t* bytes, size_t length)>;

  void encodePart(const TensorPart& part, ggml_type type, const Append& append);
  void encodeParts(const std::vector<TensorPart>& parts, const std::string& name, ggml_type type,
                   const Append& append);
  std::vector<float> readNumbers(const std::vector<TensorPart>& parts, const std::string& name);
  void writeChanged(const std::vector<TensorPart>& parts, const TensorTarget& tensor);
  void writeDrawn(const DrawnNumbers& drawn, ggml_type type);
  void writeEqual(const EqualNumbers& equal);
  void append(const uint8_t* bytes, size_t length) {
    out_.write(bytes, length);
    written_ += length;
  }
  void report(uint64_t bytes) { onProgress_(done_ += bytes); }

  OutputFile& out_;
  ThreadPool& pool_;
  const std::function<void(uint64_t)>& onProgress_;
  const CancelFlag* cancelled_;
  uint64_t written_ = 0;  // of the current tensor
  uint64_t done_ = 0;     // of the sources of all tensors
};

// A part that is transposed is read whole.
void TensorWriter::encodePart(const TensorPart& part, ggml_type type, const Append& append) {
  const uint64_t rowBytes = ggml_row_size(part.type, part.columns);
  // In the file, with the gaps between the numbers; without those after the row's last number.
  const uint64_t numberBytes = ggml_type_size(part.type);
  const uint64_t strideBytes =
      part.isContiguous() ? rowBytes : static_cast<uint64_t>(part.rowStride) * numberBytes;
  const uint64_t spanBytes =
      part.isContiguous()
          ? rowBytes
          : (static_cast<uint64_t>(part.columns - 1) * static_cast<uint64_t>(part.columnStride) +
             1) *
                numberBytes;
  // Numbers of less than a byte take more in f32.
  const uint64_t rowLimit =
      std::max({rowBytes, static_cast<uint64_t>(part.columns), strideBytes, spanBytes});
  const int64_t step =
      part.transpose
          ? part.rows
          : std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowLimit), 1, part.rows);
  for (int64_t row = 0; row < part.rows; row += step) {
    const int64_t rows = std::min(step, part.rows - row);
    std::vector<uint8_t> bytes(
        static_cast<size_t>(static_cast<uint64_t>(rows - 1) * strideBytes + spanBytes));
    part.file->read(part.offset + static_cast<uint64_t>(row) * strideBytes, bytes.size(),
                    bytes.data(), cancelled_);
    bytes = gatherRows(part, rows, std::move(bytes));
    if (part.type == GGML_TYPE_F64) bytes = roundToF32(bytes);
    const ggml_type source = readType(part);
    if (type != source || part.transpose) {
      bytes = encodeTensor({bytes.data(), bytes.size(), source, rows, part.columns, part.transpose},
                           type, pool_, cancelled_);
    }
    append(bytes.data(), bytes.size());
    report(static_cast<uint64_t>(rows) * rowBytes);
  }
}

void TensorWriter::encodeParts(const std::vector<TensorPart>& parts, const std::string& name,
                               ggml_type type, const Append& append) {
  for (const TensorPart& part : parts) {
    const std::string where = part.file->path() + ": the tensor \"" + name + "\": ";
    try {
      encodePart(part, type, append);
    } catch (const std::bad_alloc&) {
      throw Error(code::kOutOfMemory, where + "no memory to encode it");
    } catch (const Error& error) {
      const std::string_view text = error.code();  // its address differs between object files
      const bool isAboutTensor = text == code::kInvalidFile || text == code::kInvalidArgument ||
                                 text == code::kUnsupportedModel;
      if (!isAboutTensor) throw;
      throw Error(error.code(), where + error.what());
    }
  }
}

// Reads parts in f32.
std::vector<float> TensorWriter::readNumbers(const std::vector<TensorPart>& parts,
                                             const std::string& name) {
  std::vector<float> numbers;
  encodeParts(parts, name, GGML_TYPE_F32, [&](const uint8_t* bytes, size_t length) {
    const size_t count = numbers.size();
    numbers.resize(count + length / sizeof(float));
    std::memcpy(numbers.data() + count, bytes, length);
  });
  return numbers;
}

// The tensor is held in f32, changed and encoded as a whole.
void TensorWriter::writeChanged(const std::vector<TensorPart>& parts, const TensorTarget& tensor) {
  std::vector<float> numbers = readNumbers(parts, tensor.name);
  const int64_t rowLength = rowLengthOf(parts.front());
  for (const auto& [left, right, factor, firstRow] : tensor.updates) {
    const std::vector<float> leftNumbers = readNumbers({left}, tensor.name);
    const std::vector<float> rightNumbers = readNumbers({right}, tensor.name);
    addLowRankProduct({leftNumbers.data(), rightNumbers.data(), rowsOf(left), rowLengthOf(left),
                       rowLength, factor},
                      numbers.data() + firstRow * rowLength, pool_, cancelled_);
  }
  const auto count = static_cast<int64_t>(numbers.size());
  for (int64_t i = 0; i < std::min(tensor.scale.count, count); ++i) {
    numbers[static_cast<size_t>(i)] *= tensor.scale.factor;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(numbers.data());
  const size_t byteSize = numbers.size() * sizeof(float);
  if (tensor.type == GGML_TYPE_F32) {
    append(bytes, byteSize);
    return;
  }
  try {
    const std::vector<uint8_t> encoded =
        encodeTensor({bytes, byteSize, GGML_TYPE_F32, count / rowLength, rowLength, false},
                     tensor.type, pool_, cancelled_);
    append(encoded.data(), encoded.size());
  } catch (const Error& error) {
    if (std::string_view(error.code()) != code::kInvalidFile) throw;
    throw Error(error.code(), parts.front().file->path() + ": the tensor \"" + tensor.name +
                                  "\": " + error.what());
  }
}

void TensorWriter::writeDrawn(const DrawnNumbers& drawn, ggml_type type) {
  const uint64_t rowBytes = static_cast<uint64_t>(drawn.columns) * sizeof(float);
  const int64_t step =
      std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowBytes), 1, drawn.rows);
  for (int64_t row = 0; row < drawn.rows; row += step) {
    const int64_t rows = std::min(step, drawn.rows - row);
    std::vector<float> numbers(static_cast<size_t>(rows * drawn.columns));
    drawNormal(streamSeed(drawn.seed, drawn.stream), static_cast<uint64_t>(row * drawn.columns),
               numbers.size(), drawn.deviation, numbers.data());
    const std::vector<uint8_t> bytes =
        encodeTensor({reinterpret_cast<const uint8_t*>(numbers.data()),
                      numbers.size() * sizeof(float), GGML_TYPE_F32, rows, drawn.columns, false},
                     type, pool_, cancelled_);
    append(bytes.data(), bytes.size());
    report(numbers.size() * sizeof(float));
  }
}

void TensorWriter::writeEqual(const EqualNumbers& equal) {
  const std::vector<float> numbers(static_cast<size_t>(equal.count), equal.value);
  append(reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(float));
}

void TensorWriter::write(const TensorTarget& tensor) {
  written_ = 0;
  if (const auto* parts = std::get_if<std::vector<TensorPart>>(&tensor.numbers)) {
    const bool isChanged = tensor.scale.count > 0 || !tensor.updates.empty();
    if (isChanged && !parts->empty()) {
      writeChanged(*parts, tensor);
    } else {
      encodeParts(*parts, tensor.name, tensor.type,
                  [this](const uint8_t* bytes, size_t length) { append(bytes, length); });
    }
  } else if (const auto* drawn = std::get_if<DrawnNumbers>(&tensor.numbers)) {
    writeDrawn(*drawn, tensor.type);
  } else {
    writeEqual(std::get<EqualNumbers>(tensor.numbers));
  }
  out_.writeZeros((kAlignment - written_ % kAlignment) % kAlignment);
}

}  // namespace

void writeGguf(const std::string& path, const std::vector<uint8_t>& header,
               const std::vector<TensorTarget>& tensors, int threads,
               const std::function<void(uint64_t)>& onProgress, const CancelFlag* cancelled) {
  throwIfCancelled(cancelled);
  checkKernelChoice();
  for (const TensorTarget& tensor : tensors) checkTarget(tensor);
  OutputFile out(path);
  const auto pool = startPool(threads == 0 ? physicalCpuCount() : threads);
  out.write(header.data(), header.size());
  TensorWriter writer(out, *pool, onProgress, cancelled);
  for (const TensorTarget& tensor : tensors) writer.write(tensor);
  throwIfCancelled(cancelled);
  out.commit();
}

}  // namespace gpt2
