#include "gguf/write_gguf.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "base/error.h"
#include "gguf/encode_tensor.h"
#include "gguf/normal_numbers.h"
#include "io/output_file.h"

namespace gpt2 {

namespace {

constexpr uint64_t kAlignment = 32;
// Read and encoded at a time: bounds the memory beside the model and the time to a cancellation.
constexpr uint64_t kChunkBytes = uint64_t{8} << 20;

// Writes the encoded numbers, some rows at a time, or all of them if they are to be transposed.
// Returns the bytes written.
uint64_t writePart(OutputFile& out, const TensorPart& part, ggml_type type,
                   const std::function<void(uint64_t)>& onChunk, const CancelFlag* cancelled) {
  const uint64_t rowBytes = ggml_row_size(part.type, part.columns);
  // Numbers of less than a byte are as many again in f32.
  const uint64_t rowLimit = std::max(rowBytes, static_cast<uint64_t>(part.columns));
  const int64_t step =
      part.transpose
          ? part.rows
          : std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowLimit), 1, part.rows);
  uint64_t written = 0;
  for (int64_t row = 0; row < part.rows; row += step) {
    const int64_t rows = std::min(step, part.rows - row);
    const uint64_t partBytes = static_cast<uint64_t>(rows) * rowBytes;
    std::vector<uint8_t> bytes(static_cast<size_t>(partBytes));
    part.file->read(part.offset + static_cast<uint64_t>(row) * rowBytes, bytes.size(), bytes.data(),
                    cancelled);
    if (type != part.type || part.transpose) {
      bytes =
          encodeTensor({bytes.data(), bytes.size(), part.type, rows, part.columns, part.transpose},
                       type, cancelled);
    }
    out.write(bytes.data(), bytes.size());
    written += bytes.size();
    onChunk(partBytes);
  }
  return written;
}

uint64_t writeParts(OutputFile& out, const std::vector<TensorPart>& parts,
                    const TensorTarget& tensor, const std::function<void(uint64_t)>& onChunk,
                    const CancelFlag* cancelled) {
  uint64_t written = 0;
  for (const TensorPart& part : parts) {
    const std::string where = part.file->path() + ": the tensor \"" + tensor.name + "\": ";
    try {
      written += writePart(out, part, tensor.type, onChunk, cancelled);
    } catch (const std::bad_alloc&) {
      throw Error(code::kOutOfMemory, where + "no memory to encode it");
    } catch (const Error& error) {
      const std::string_view text = error.code();  // its address is another in other object files
      const bool isAboutTensor = text == code::kInvalidFile || text == code::kInvalidArgument ||
                                 text == code::kUnsupportedModel;
      if (!isAboutTensor) throw;
      throw Error(error.code(), where + error.what());
    }
  }
  return written;
}

uint64_t writeDrawn(OutputFile& out, const DrawnNumbers& drawn, ggml_type type,
                    const std::function<void(uint64_t)>& onChunk, const CancelFlag* cancelled) {
  const uint64_t rowBytes = static_cast<uint64_t>(drawn.columns) * sizeof(float);
  const int64_t step =
      std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowBytes), 1, drawn.rows);
  uint64_t written = 0;
  for (int64_t row = 0; row < drawn.rows; row += step) {
    const int64_t rows = std::min(step, drawn.rows - row);
    std::vector<float> numbers(static_cast<size_t>(rows * drawn.columns));
    drawNormal(streamSeed(drawn.seed, drawn.stream), static_cast<uint64_t>(row * drawn.columns),
               numbers.size(), drawn.deviation, numbers.data());
    const std::vector<uint8_t> bytes =
        encodeTensor({reinterpret_cast<const uint8_t*>(numbers.data()),
                      numbers.size() * sizeof(float), GGML_TYPE_F32, rows, drawn.columns, false},
                     type, cancelled);
    out.write(bytes.data(), bytes.size());
    written += bytes.size();
    onChunk(numbers.size() * sizeof(float));
  }
  return written;
}

uint64_t writeEqual(OutputFile& out, const EqualNumbers& equal) {
  const std::vector<float> numbers(static_cast<size_t>(equal.count), equal.value);
  out.write(reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(float));
  return numbers.size() * sizeof(float);
}

}  // namespace

void writeGguf(const std::string& path, const std::vector<uint8_t>& header,
               const std::vector<TensorTarget>& tensors,
               const std::function<void(uint64_t)>& onProgress, const CancelFlag* cancelled) {
  throwIfCancelled(cancelled);
  OutputFile out(path);
  out.write(header.data(), header.size());
  uint64_t done = 0;
  const auto onChunk = [&](uint64_t bytes) { onProgress(done += bytes); };
  for (const TensorTarget& tensor : tensors) {
    uint64_t size = 0;
    if (const auto* parts = std::get_if<std::vector<TensorPart>>(&tensor.numbers)) {
      size = writeParts(out, *parts, tensor, onChunk, cancelled);
    } else if (const auto* drawn = std::get_if<DrawnNumbers>(&tensor.numbers)) {
      size = writeDrawn(out, *drawn, tensor.type, onChunk, cancelled);
    } else {
      size = writeEqual(out, std::get<EqualNumbers>(tensor.numbers));
    }
    out.writeZeros((kAlignment - size % kAlignment) % kAlignment);
  }
  throwIfCancelled(cancelled);
  out.commit();
}

}  // namespace gpt2
