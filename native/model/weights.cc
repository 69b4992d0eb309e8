#include "model/weights.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/tensor_type.h"
#include "kernels/widen_row.h"

namespace gpt2 {

namespace {

// The alignment of tensors in ggml's CPU buffers.
constexpr uintptr_t kTensorAlignment = 32;

// The key that lists biases that the checkpoint lacked. llama.cpp's loader requires every bias, so
// the converter writes zeros for them.
constexpr const char* kAbsentBiasesKey = "gpt2_native.absent_biases";

// The most tensors that a model can have.
size_t tensorLimit(const Hyperparameters& h) {
  constexpr size_t kPerModule = 2;  // weight and bias
  constexpr size_t kOthers = moduleCount(ModulePlace::kInput) + moduleCount(ModulePlace::kOutput);
  return kPerModule *
         (moduleCount(ModulePlace::kLayer) * static_cast<size_t>(h.layerCount) + kOthers);
}

int64_t valueOf(const Extent& extent, const Hyperparameters& h) {
  switch (extent.size) {
    case ModelSize::kVocabSize:
      return extent.factor * h.vocabSize;
    case ModelSize::kContextLength:
      return extent.factor * h.contextLength;
    case ModelSize::kFeedForwardLength:
      return extent.factor * h.feedForwardLength;
    default:
      return extent.factor * h.embeddingLength;
  }
}

}  // namespace

EmbeddingTable::EmbeddingTable(const TensorInfo& tensor)
    : data_(tensor.data),
      type_(tensor.type),
      rowLength_(tensor.shape[0]),
      rowBytes_(ggml_row_size(tensor.type, tensor.shape[0])) {}

void EmbeddingTable::copyRow(int64_t index, float* out) const {
  widenRow(type_, data_ + static_cast<size_t>(index) * rowBytes_, out, rowLength_);
}

Weights::Weights(std::shared_ptr<const ModelFiles> files, const Device& device,
                 const CancelFlag* cancelled)
    : files_(std::move(files)),
      hyperparameters_(Hyperparameters::read(*files_)),
      onCpu_(device.isCpu()) {
  const Hyperparameters& h = hyperparameters_;
  const GgufFile& first = files_->first();
  // Checked before memory is allocated for the layers. Each module has at least a weight.
  constexpr size_t kRequiredPerLayer = moduleCount(ModulePlace::kLayer);
  if (kRequiredPerLayer * static_cast<size_t>(h.layerCount) > files_->tensors().size()) {
    first.reject("gpt2.block_count is " + std::to_string(h.layerCount) + ", but there are only " +
                 std::to_string(files_->tensors().size()) + " tensors");
  }
  if (const MetadataValue* absent = first.find(kAbsentBiasesKey)) {
    absent->forEachString([&](std::string_view name) {
      constexpr std::string_view kSuffix = ".bias";
      if (name.size() <= kSuffix.size() || name.substr(name.size() - kSuffix.size()) != kSuffix) {
        first.reject(std::string(kAbsentBiasesKey) + " names \"" + std::string(name) +
                     "\", which is not a bias");
      }
      absentBiases_.emplace(name);
    });
  }
  mappedTensors_.emplace(tensorLimit(h));
  copiedTensors_.emplace(tensorLimit(h));

  const TensorInfo& tokens = requireWeight(modules::kTokenEmbedding);
  const TensorInfo& positions = requireWeight(modules::kPositionEmbedding);
  // ggml copies the cache when it grows, and counts its elements in 32 bits.
  if (h.embeddingLength * h.contextLength > std::numeric_limits<int32_t>::max()) {
    throw Error(code::kUnsupportedModel, first.path() + ": the product of the embedding length " +
                                             std::to_string(h.embeddingLength) +
                                             " and the context length " +
                                             std::to_string(h.contextLength) + " is 2^31 or more");
  }
  tokenEmbedding_ = EmbeddingTable(tokens);
  positionEmbedding_ = EmbeddingTable(positions);

  layers_.reserve(static_cast<size_t>(h.layerCount));
  for (int64_t i = 0; i < h.layerCount; ++i) {
    Layer layer{};
    layer.attentionNorm = norm(modules::kAttentionNorm, i);
    layer.attentionQkv = linear(modules::kAttentionQkv, i);
    layer.attentionOutput = linear(modules::kAttentionOutput, i);
    layer.feedForwardNorm = norm(modules::kFeedForwardNorm, i);
    layer.feedForwardUp = linear(modules::kFeedForwardUp, i);
    layer.feedForwardDown = linear(modules::kFeedForwardDown, i);
    layers_.push_back(layer);
  }
  outputNorm_ = norm(modules::kOutputNorm);
  headIsTied_ = files_->findTensor(weightName(modules::kHead)) == nullptr;
  head_.weight = matrix(headIsTied_ ? modules::kTokenEmbedding : modules::kHead);

  for (const TensorInfo* tensor : files_->tensors()) {
    if (used_.count(tensor->name) == 0 && !isMaskBuffer(tensor->name)) {
      throw Error(code::kUnsupportedModel, tensor->file->path() + ": it holds the tensor \"" +
                                               tensor->name +
                                               "\", which is not part of a GPT-2 of " +
                                               std::to_string(h.layerCount) + " layers");
    }
  }
  countParameters();
  upload(device, cancelled);
}

// The tensor `name` of ggml shape [in, out], or [in] if out is 1, in a type that can be widened.
const TensorInfo& Weights::require(const std::string& name, int64_t in, int64_t out) {
  const TensorInfo* tensor = files_->findTensor(name);
  if (tensor == nullptr) files_->first().reject("the tensor \"" + name + "\" is missing");
  if (tensor->shape[0] != in || tensor->shape[1] != out || tensor->shape[2] != 1 ||
      tensor->shape[3] != 1) {
    tensor->file->reject(
        "expected the tensor \"" + name + "\" to have the shape [" + std::to_string(in) + ", " +
        std::to_string(out) + "] but found [" + std::to_string(tensor->shape[0]) + ", " +
        std::to_string(tensor->shape[1]) + (tensor->dimensionCount > 2 ? ", …]" : "]"));
  }
  if (!canWiden(tensor->type)) {
    throw Error(code::kUnsupportedModel, tensor->file->path() + ": the tensor \"" + name +
                                             "\" is of type " + ggml_type_name(tensor->type) +
                                             ", which is not a type for weights");
  }
  used_.insert(name);
  return *tensor;
}

const TensorInfo& Weights::requireWeight(const Gpt2Module& module, int64_t layer) {
  return require(weightName(module, layer), valueOf(module.in, hyperparameters_),
                 valueOf(module.out, hyperparameters_));
}

ggml_tensor* Weights::matrix(const Gpt2Module& module, int64_t layer) {
  const TensorInfo& info = requireWeight(module, layer);
  if (ggml_get_type_traits_cpu(info.type)->vec_dot == nullptr) {
    throw Error(code::kUnsupportedModel, info.file->path() + ": the tensor \"" + info.name +
                                             "\" is of type " + ggml_type_name(info.type) +
                                             ", for which ggml has no dot product");
  }
  const bool inPlace = onCpu_ && reinterpret_cast<uintptr_t>(info.data) % kTensorAlignment == 0;
  ggml_context* context = inPlace ? mappedTensors_->get() : copiedTensors_->get();
  ggml_tensor* tensor = ggml_new_tensor_2d(context, info.type, info.shape[0], info.shape[1]);
  ggml_set_name(tensor, info.name.c_str());
  (inPlace ? mapped_ : copied_).emplace_back(tensor, &info);
  return tensor;
}

ggml_tensor* Weights::vector(const std::string& name, int64_t length) {
  const TensorInfo& info = require(name, length, 1);
  ggml_tensor* tensor = ggml_new_tensor_1d(copiedTensors_->get(), GGML_TYPE_F32, length);
  ggml_set_name(tensor, name.c_str());
  copied_.emplace_back(tensor, &info);
  return tensor;
}

ggml_tensor* Weights::optionalBias(const Gpt2Module& module, int64_t layer) {
  const std::string name = biasName(module, layer);
  const int64_t length = valueOf(module.out, hyperparameters_);
  if (files_->findTensor(name) == nullptr) {
    absentBiases_.insert(name);
    return nullptr;
  }
  if (absentBiases_.count(name) != 0) {
    require(name, length, 1);
    return nullptr;
  }
  return vector(name, length);
}

Linear Weights::linear(const Gpt2Module& module, int64_t layer) {
  return {matrix(module, layer), optionalBias(module, layer)};
}

LayerNorm Weights::norm(const Gpt2Module& module, int64_t layer) {
  return {vector(weightName(module, layer), valueOf(module.out, hyperparameters_)),
          optionalBias(module, layer), hyperparameters_.layerNormEpsilon};
}

void Weights::countParameters() {
  std::map<ggml_type, size_t> bytesOfType;
  for (const TensorInfo* tensor : files_->tensors()) {
    if (used_.count(tensor->name) == 0 || absentBiases_.count(tensor->name) != 0) continue;
    parameterCount_ += tensor->shape[0] * tensor->shape[1];
    if (tensor->dimensionCount > 1) bytesOfType[tensor->type] += tensor->byteSize;
  }
  dominantType_ =
      std::max_element(bytesOfType.begin(), bytesOfType.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      })->first;
}

// Returns ggml's buffer over the bytes of a mapped file.
ggml_backend_buffer* Weights::mappedBuffer(const GgufFile& file) {
  BufferPtr& buffer = mappedBuffers_[&file];
  if (!buffer) {
    requireMemory(1024);  // for the buffer's descriptor
    const FileMap& bytes = file.bytes();
    buffer.reset(
        ggml_backend_cpu_buffer_from_ptr(const_cast<uint8_t*>(bytes.data()), bytes.size()));
    if (!buffer) throw Error(code::kOutOfMemory, "no memory to describe the mapped file");
  }
  return buffer.get();
}

void Weights::upload(const Device& device, const CancelFlag* cancelled) {
  for (const auto& [tensor, info] : mapped_) {
    ggml_backend_tensor_alloc(mappedBuffer(*info->file), tensor, const_cast<uint8_t*>(info->data));
  }
  copiedBuffer_ = device.allocate(copiedTensors_->get());
  std::vector<float> widened;
  for (const auto& [tensor, info] : copied_) {
    throwIfCancelled(cancelled);
    if (tensor->type == info->type) {
      ggml_backend_tensor_set(tensor, info->data, 0, info->byteSize);
    } else {
      widened.resize(static_cast<size_t>(ggml_nelements(tensor)));
      widen(info->type, info->data, widened.data(), ggml_nelements(tensor));
      ggml_backend_tensor_set(tensor, widened.data(), 0, ggml_nbytes(tensor));
    }
  }
}

size_t Weights::anonymousBytes() const noexcept {
  return ggml_backend_buffer_get_size(copiedBuffer_.get()) + files_->anonymousBytes();
}

}  // namespace gpt2
