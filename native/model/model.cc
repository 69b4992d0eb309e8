#include "model/model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/cpu_count.h"
#include "base/error.h"
#include "base/tensor_type.h"

namespace gpt2 {

namespace {

int64_t checkedContextLength(const Weights& weights, int64_t requested) {
  const int64_t own = weights.hyperparameters().contextLength;
  if (requested > own) {
    throw Error(code::kInvalidArgument, "Expected a contextLength of 1 to " + std::to_string(own) +
                                            ", the model's own, but received " +
                                            std::to_string(requested));
  }
  return requested == 0 ? own : requested;
}

ggml_type checkedCacheType(const Weights& weights, std::optional<ggml_type> requested) {
  if (!requested) return weights.dominantType() == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
  if (*requested != GGML_TYPE_F32 && *requested != GGML_TYPE_F16) {
    throw Error(code::kInvalidArgument,
                "Expected a cacheType of f32 or f16 but received " + typeName(*requested));
  }
  return *requested;
}

// The end of a sequence, of a turn and of a message, as llama.cpp names them, and this library's
// list for models with several ends of a sequence.
std::set<uint32_t> readEndOfText(const Weights& weights) {
  const GgufFile& file = weights.files().first();
  const int64_t vocabSize = weights.hyperparameters().vocabSize;
  std::set<uint32_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const MetadataValue* value = file.find(key);
    const std::optional<double> id = value == nullptr ? std::nullopt : value->number();
    if (id && *id >= 0 && *id < static_cast<double>(vocabSize)) {
      ids.insert(static_cast<uint32_t>(*id));
    }
  }
  constexpr const char* kListKey = "gpt2_native.end_of_text_ids";
  const MetadataValue* list = file.find(kListKey);
  if (list == nullptr) return ids;
  if (!list->isArray || list->type != GgufType::kInt32) {
    file.reject(std::string("expected ") + kListKey +
                " to be an array of whole numbers of 32 bits");
  }
  for (uint64_t i = 0; i < list->count; ++i) {
    int32_t id = 0;
    std::memcpy(&id, list->data + i * sizeof id, sizeof id);
    if (id >= 0 && id < vocabSize) ids.insert(static_cast<uint32_t>(id));
  }
  return ids;
}

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options, const CancelFlag* cancelled)
    : device_(options.device, options.threads == 0 ? physicalCpuCount() : options.threads),
      weights_(std::make_shared<const ModelFiles>(path, options.map, cancelled), device_,
               cancelled),
      contextLength_(checkedContextLength(weights_, options.contextLength)),
      cacheType_(checkedCacheType(weights_, options.cacheType)),
      endOfText_(readEndOfText(weights_)),
      forwardPass_(weights_, device_, options.operators) {}

size_t Model::anonymousBytes() const noexcept {
  const size_t scratch = device_.isCpu() ? device_.threadPool().byteSize() : 0;
  return weights_.anonymousBytes() + forwardPass_.byteSize() + scratch +
         logits_.capacity() * sizeof(float);
}

std::unique_ptr<Session> Model::createSession() {
  const Hyperparameters& h = weights_.hyperparameters();
  return std::make_unique<Session>(
      KvCache(device_, {h.attention(), h.layerCount, h.contextLength}, cacheType_));
}

void Model::evaluate(const std::vector<BatchEntry>& batch, const OnLogits& onLogits,
                     const CancelFlag* cancelled) {
  if (batch.size() > 1 && !forwardPass_.sharesPasses()) {
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto onOwnLogits = [&](size_t, size_t output, const float* logits) {
        onLogits(i, output, logits);
      };
      evaluate({batch[i]}, onOwnLogits, cancelled);
    }
    return;
  }
  struct Output {
    size_t entry;
    size_t index;  // in the entry
  };
  std::vector<Output> outputs;
  std::vector<int64_t> starts;  // of the entries, to return to
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].count <= 0) throw Error(code::kInternal, "a batch entry without tokens");
    starts.push_back(batch[i].session->evaluated());
    for (size_t j = 0; j < batch[i].outputRows.size(); ++j) outputs.push_back({i, j});
  }
  const float* hidden = forwardPass_.run(batch, cancelled);

  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  const auto vocabSize = static_cast<size_t>(weights_.hyperparameters().vocabSize);
  size_t received = 0;
  try {
    while (received < outputs.size()) {
      const size_t count = std::min<size_t>(outputs.size() - received, ForwardPass::kMaxHeadRows);
      logits_.resize(count * vocabSize);
      forwardPass_.logits(hidden + received * width, static_cast<int64_t>(count), logits_.data(),
                          cancelled);
      for (size_t i = 0; i < count; ++i, ++received) {
        onLogits(outputs[received].entry, outputs[received].index, logits_.data() + i * vocabSize);
      }
    }
  } catch (...) {
    for (; received < outputs.size(); ++received) {
      const size_t entry = outputs[received].entry;
      batch[entry].session->markEvaluated(starts[entry]);
    }
    throw;
  }
}

}  // namespace gpt2
