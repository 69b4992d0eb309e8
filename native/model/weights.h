#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/tensor_context.h"
#include "gguf/gpt2_tensors.h"
#include "gguf/model_files.h"
#include "model/hyperparameters.h"
#include "ops/device.h"
#include "ops/ops.h"

namespace gpt2 {

struct Layer {
  LayerNorm attentionNorm;
  Linear attentionQkv;     // [width, 3 × width]: queries, keys, values
  Linear attentionOutput;  // [width, width]
  LayerNorm feedForwardNorm;
  Linear feedForwardUp;    // [width, inner]
  Linear feedForwardDown;  // [inner, width]
};

// A table whose rows are looked up on the host, in the file's bytes and the file's type.
class EmbeddingTable {
 public:
  EmbeddingTable() = default;
  explicit EmbeddingTable(const TensorInfo& tensor);
  // Writes row `index`, widened to f32, to out[0 … row length).
  void copyRow(int64_t index, float* out) const;

 private:
  const uint8_t* data_ = nullptr;
  ggml_type type_ = GGML_TYPE_F32;
  int64_t rowLength_ = 0;
  size_t rowBytes_ = 0;
};

// A model's weights, bound to its files. The CPU uses matrices in the mapped file; for a GPU they
// are copied to its memory. Vectors (biases, norms) are widened to f32.
class Weights {
 public:
  // Throws INVALID_FILE for missing tensors and wrong shapes, UNSUPPORTED_MODEL for surplus tensors
  // and for types without a dot product, and ABORTED.
  Weights(std::shared_ptr<const ModelFiles> files, const Device& device,
          const CancelFlag* cancelled = nullptr);

  const ModelFiles& files() const noexcept { return *files_; }
  const Hyperparameters& hyperparameters() const noexcept { return hyperparameters_; }
  const EmbeddingTable& tokenEmbedding() const noexcept { return tokenEmbedding_; }
  const EmbeddingTable& positionEmbedding() const noexcept { return positionEmbedding_; }
  const std::vector<Layer>& layers() const noexcept { return layers_; }
  const LayerNorm& outputNorm() const noexcept { return outputNorm_; }
  const Linear& head() const noexcept { return head_; }  // [width, vocabulary], no bias

  bool headIsTied() const noexcept { return headIsTied_; }
  int64_t parameterCount() const noexcept { return parameterCount_; }
  // The type with the most bytes among the matrices.
  ggml_type dominantType() const noexcept { return dominantType_; }
  // Names of the biases that the checkpoint lacked: zeros in the file, left out of the graph.
  const std::unordered_set<std::string>& absentBiases() const noexcept { return absentBiases_; }
  // Bytes of private memory: widened vectors, copies, and the files themselves if they are not
  // mapped.
  size_t anonymousBytes() const noexcept;

 private:
  const TensorInfo& require(const std::string& name, int64_t in, int64_t out);
  const TensorInfo& requireWeight(const Gpt2Module& module, int64_t layer = 0);
  ggml_tensor* matrix(const Gpt2Module& module, int64_t layer = 0);
  ggml_tensor* vector(const std::string& name, int64_t length);
  ggml_tensor* optionalBias(const Gpt2Module& module, int64_t layer);
  Linear linear(const Gpt2Module& module, int64_t layer);
  LayerNorm norm(const Gpt2Module& module, int64_t layer = 0);
  void countParameters();
  ggml_backend_buffer* mappedBuffer(const GgufFile& file);
  void upload(const Device& device, const CancelFlag* cancelled);

  std::shared_ptr<const ModelFiles> files_;
  Hyperparameters hyperparameters_;
  std::unordered_set<std::string> absentBiases_;
  std::unordered_set<std::string> used_;
  std::optional<TensorContext> mappedTensors_;  // matrices used in the mapped file
  std::optional<TensorContext> copiedTensors_;  // vectors, and matrices copied to the device
  std::vector<std::pair<ggml_tensor*, const TensorInfo*>> mapped_, copied_;
  std::unordered_map<const GgufFile*, BufferPtr> mappedBuffers_;
  BufferPtr copiedBuffer_;
  EmbeddingTable tokenEmbedding_, positionEmbedding_;
  std::vector<Layer> layers_;
  LayerNorm outputNorm_{};
  Linear head_{};
  bool headIsTied_ = true;
  bool onCpu_;
  int64_t parameterCount_ = 0;
  ggml_type dominantType_ = GGML_TYPE_F32;
};

}  // namespace gpt2
