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

// As vLLM's prefix cache does, keeps keys and values for requests to come, but not more than those
// of one sequence: they are memory of the host's process.
std::shared_ptr<CacheMemory> makeCacheMemory(const Weights& weights, Device& device, ggml_type type,
                                             int64_t contextLength, const ModelOptions& options) {
  const Hyperparameters& h = weights.hyperparameters();
  const int64_t perSequence = (contextLength + KvBlock::kPositions - 1) / KvBlock::kPositions;
  const KvBlockPool pool(device, {h.attention(), h.layerCount}, type, perSequence);
  constexpr size_t kShare = 4;
  const size_t maxBytes = options.cacheBytes.value_or(std::max(
      options.machineBytes / kShare, static_cast<size_t>(perSequence) * pool.blockBytes()));
  return std::make_shared<CacheMemory>(
      pool, CacheMemory::Options{maxBytes, perSequence, options.sharesPrefixes});
}

// Passes outputs to the sink, on the threads of the pool.
class SinkStep final : public Step {
 public:
  SinkStep(const std::vector<Output>& outputs, const OutputSink& sink)
      : outputs_(outputs), sink_(sink) {}

  std::string name() const override { return "outputs"; }
  int chunks() const override { return static_cast<int>(outputs_.size()); }
  void run(int chunk, float* /*scratch*/) const noexcept override {
    sink_(outputs_[static_cast<size_t>(chunk)]);
  }

 private:
  const std::vector<Output>& outputs_;
  const OutputSink& sink_;
};

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options, const CancelFlag* cancelled)
    : device_(options.device, options.threads == 0 ? physicalCpuCount() : options.threads),
      weights_(std::make_shared<const ModelFiles>(path, options.map, cancelled), device_,
               cancelled),
      contextLength_(checkedContextLength(weights_, options.contextLength)),
      cacheType_(checkedCacheType(weights_, options.cacheType)),
      endOfText_(readEndOfText(weights_)),
      cacheMemory_(makeCacheMemory(weights_, device_, cacheType_, contextLength_, options)),
      forwardPass_(weights_, device_, options.operators) {}

std::shared_ptr<const TokenTrie> Model::tokenTrie() {
  if (tokenTrie_) return tokenTrie_;
  const GgufFile& file = weights_.files().first();
  auto tokens = TokenBytes::read(file, static_cast<uint64_t>(weights_.hyperparameters().vocabSize));
  if (!tokens) {
    throw Error(code::kTokenizerMissing, file.path() + ": the file holds no vocabulary");
  }
  tokenTrie_ = std::make_shared<const TokenTrie>(std::move(tokens));
  return tokenTrie_;
}

size_t Model::anonymousBytes() const noexcept {
  const size_t scratch = device_.isCpu() ? device_.threadPool().byteSize() : 0;
  return weights_.anonymousBytes() + forwardPass_.byteSize() + cacheMemory_->byteSize() + scratch;
}

std::unique_ptr<Session> Model::createSession() { return std::make_unique<Session>(cacheMemory_); }

void Model::evaluate(const std::vector<BatchEntry>& batch, const OutputSink& sink,
                     const CancelFlag* cancelled) {
  if (batch.size() > 1 && !forwardPass_.sharesPasses()) {
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto ownSink = [&](Output output) {
        output.entry = i;
        sink(output);
      };
      evaluate({batch[i]}, ownSink, cancelled);
    }
    return;
  }
  std::vector<int64_t> starts;  // of the entries, to return to
  for (const BatchEntry& entry : batch) {
    if (entry.count <= 0) throw Error(code::kInternal, "a batch entry without tokens");
    starts.push_back(entry.session->evaluated());
  }
  const float* hidden = forwardPass_.run(batch, cancelled);

  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  constexpr auto kMaxRows = static_cast<size_t>(ForwardPass::kMaxHeadRows);
  size_t received = 0;  // entries whose outputs were all passed on
  try {
    std::vector<Output> together;
    const auto passTogether = [&] {
      if (!together.empty()) {
        passOutputs(together, batch[received].output, hidden, sink, cancelled);
      }
      hidden += together.size() * width;
      together.clear();
    };
    for (size_t i = 0; i < batch.size(); ++i) {
      const size_t count = batch[i].outputRows.size();
      const bool isOfSameKind = batch[i].output == batch[received].output;
      if (together.size() + count > kMaxRows || !isOfSameKind) {
        passTogether();
        received = i;
      }
      for (size_t index = 0; index < count; ++index) {
        if (together.size() == kMaxRows) passTogether();
        together.push_back({i, index, nullptr});
      }
    }
    passTogether();
  } catch (...) {
    for (; received < batch.size(); ++received) {
      if (batch[received].outputRows.empty()) continue;
      batch[received].session->cache().truncate(starts[received]);
    }
    throw;
  }
  for (const BatchEntry& entry : batch) cacheMemory_->publish(*entry.session);
}

void Model::passOutputs(std::vector<Output>& outputs, OutputKind kind, const float* hidden,
                        const OutputSink& sink, const CancelFlag* cancelled) {
  const Hyperparameters& h = weights_.hyperparameters();
  const auto length =
      static_cast<size_t>(kind == OutputKind::kLogits ? h.vocabSize : h.embeddingLength);
  const auto count = static_cast<int64_t>(outputs.size());
  const float* rows = forwardPass_.outputs(hidden, count, kind, cancelled);
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].row = &rows[i * length];
  if (device_.isCpu()) {
    const SinkStep step(outputs, sink);
    device_.threadPool().run({&step}, nullptr);
  } else {
    for (const Output& output : outputs) sink(output);
  }
}

}  // namespace gpt2
