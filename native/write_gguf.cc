#include "write_gguf.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "encode_tensor.h"
#include "error.h"
#include "output_file.h"

namespace gpt2 {

namespace {

constexpr uint64_t kAlignment = 32;
// Read and encoded at a time: bounds the memory beside the model and the time to a cancellation.
constexpr uint64_t kChunkBytes = uint64_t{8} << 20;

// Writes the encoded tensor, some rows at a time, or all of them if they are to be transposed.
// Returns the bytes written.
uint64_t writeTensor(OutputFile& out, const TensorSource& source, ggml_type type,
                     const std::function<void(uint64_t)>& onChunk, const CancelFlag* cancelled) {
  const uint64_t rowBytes = static_cast<uint64_t>(source.columns) * ggml_type_size(source.type);
  const int64_t step =
      source.transpose
          ? source.rows
          : std::clamp<int64_t>(static_cast<int64_t>(kChunkBytes / rowBytes), 1, source.rows);
  uint64_t written = 0;
  for (int64_t row = 0; row < source.rows; row += step) {
    const int64_t rows = std::min(step, source.rows - row);
    const uint64_t sourceBytes = static_cast<uint64_t>(rows) * rowBytes;
    std::vector<uint8_t> bytes(static_cast<size_t>(sourceBytes));
    source.file->read(source.offset + static_cast<uint64_t>(row) * rowBytes, bytes.size(),
                      bytes.data(), cancelled);
    if (type != source.type || source.transpose) {
      bytes = encodeTensor(
          {bytes.data(), bytes.size(), source.type, rows, source.columns, source.transpose}, type,
          cancelled);
    }
    out.write(bytes.data(), bytes.size());
    written += bytes.size();
    onChunk(sourceBytes);
  }
  return written;
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
    uint64_t size = static_cast<uint64_t>(tensor.zeros) * sizeof(float);
    if (tensor.source) {
      const std::string where =
          tensor.source->file->path() + ": the tensor \"" + tensor.name + "\": ";
      try {
        size = writeTensor(out, *tensor.source, tensor.type, onChunk, cancelled);
      } catch (const std::bad_alloc&) {
        throw Error(code::kOutOfMemory, where + "no memory to encode it");
      } catch (const Error& error) {
        const std::string_view text = error.code();  // its address is another in other object files
        const bool isAboutTensor = text == code::kInvalidFile || text == code::kInvalidArgument;
        if (!isAboutTensor) throw;
        throw Error(error.code(), where + error.what());
      }
    } else {
      out.writeZeros(size);
    }
    out.writeZeros((kAlignment - size % kAlignment) % kAlignment);
  }
  throwIfCancelled(cancelled);
  out.commit();
}

}  // namespace gpt2
