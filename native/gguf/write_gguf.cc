#include "gguf/write_gguf.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

#include "base/cpu_count.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "gguf/encode_tensor.h"
#include "gguf/normal_numbers.h"
#include "io/output_file.h"

namespace gpt2 {

namespace {

constexpr uint64_t kAlignment = 32;
// Bytes that are read and encoded at a time. Bounds the memory and the time to a cancellation.
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

// Checked before the file is created.
void checkShapes(const TensorTarget& tensor) {
  if (const auto* parts = std::get_if<std::vector<TensorPart>>(&tensor.numbers)) {
    for (const TensorPart& part : *parts) {
      checkShape(part.type, part.rows, part.columns, part.transpose, tensor.type);
    }
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
  void writePart(const TensorPart& part, ggml_type type);
  void writeParts(const std::vector<TensorPart>& parts, const TensorTarget& tensor);
  void writeScaled(const std::vector<TensorPart>& parts, const TensorTarget& tensor);
  void writeDrawn(const DrawnNumbers& drawn, ggml_type type);
  void writeEqual(const EqualNumbers& equal);
  void append(const uint8_t* bytes, size_t length) {
    if (gathered_ != nullptr) {
      gathered_->insert(gathered_->end(), bytes, bytes + length);
      return;
    }
    out_.write(bytes, length);
    written_ += length;
  }
  void report(uint64_t bytes) { onProgress_(done_ += bytes); }

  OutputFile& out_;
  ThreadPool& pool_;
  const std::function<void(uint64_t)>& onProgress_;
  const CancelFlag* cancelled_;
  std::vector<uint8_t>* gathered_ = nullptr;  // receives the bytes in place of the file, if set
  uint64_t written_ = 0;                      // of the current tensor
  uint64_t done_ = 0;                         // of the sources of all tensors
};

// A part that is transposed is read whole.
void TensorWriter::writePart(const TensorPart& part, ggml_type type) {
  const uint64_t rowBytes = ggml_row_size(part.type, part.columns);
  // Numbers of less than a byte take more in f32.
  const uint64_t rowLimit = std::max(rowBytes, static_cast<uint64_t>(part.columns));
  const int64_t step =
      part.transpose
          ? part.rows
          : std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowLimit), 1, part.rows);
  for (int64_t row = 0; row < part.rows; row += step) {
    const int64_t rows = std::min(step, part.rows - row);
    const uint64_t partBytes = static_cast<uint64_t>(rows) * rowBytes;
    std::vector<uint8_t> bytes(static_cast<size_t>(partBytes));
    part.file->read(part.offset + static_cast<uint64_t>(row) * rowBytes, bytes.size(), bytes.data(),
                    cancelled_);
    if (type != part.type || part.transpose) {
      bytes =
          encodeTensor({bytes.data(), bytes.size(), part.type, rows, part.columns, part.transpose},
                       type, pool_, cancelled_);
    }
    append(bytes.data(), bytes.size());
    report(partBytes);
  }
}

void TensorWriter::writeParts(const std::vector<TensorPart>& parts, const TensorTarget& tensor) {
  for (const TensorPart& part : parts) {
    const std::string where = part.file->path() + ": the tensor \"" + tensor.name + "\": ";
    try {
      writePart(part, tensor.type);
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

// The tensor is held in f32, multiplied and encoded as a whole.
void TensorWriter::writeScaled(const std::vector<TensorPart>& parts, const TensorTarget& tensor) {
  std::vector<uint8_t> bytes;
  gathered_ = &bytes;
  writeParts(parts, {tensor.name, GGML_TYPE_F32, {}});
  gathered_ = nullptr;
  const auto count = static_cast<int64_t>(bytes.size() / sizeof(float));
  for (int64_t i = 0; i < std::min(tensor.scale.count, count); ++i) {
    float number = 0;
    uint8_t* at = bytes.data() + static_cast<size_t>(i) * sizeof number;
    std::memcpy(&number, at, sizeof number);
    number *= tensor.scale.factor;
    std::memcpy(at, &number, sizeof number);
  }
  if (tensor.type != GGML_TYPE_F32) {
    const TensorPart& first = parts.front();
    const int64_t rowLength = first.transpose ? first.rows : first.columns;
    try {
      bytes = encodeTensor(
          {bytes.data(), bytes.size(), GGML_TYPE_F32, count / rowLength, rowLength, false},
          tensor.type, pool_, cancelled_);
    } catch (const Error& error) {
      if (std::string_view(error.code()) != code::kInvalidFile) throw;
      throw Error(error.code(),
                  first.file->path() + ": the tensor \"" + tensor.name + "\": " + error.what());
    }
  }
  append(bytes.data(), bytes.size());
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
    if (tensor.scale.count > 0 && !parts->empty()) {
      writeScaled(*parts, tensor);
    } else {
      writeParts(*parts, tensor);
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
