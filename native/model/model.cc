#include "model/model.h"

#include <algorithm>

#include "base/cpu_count.h"
#include "base/error.h"
#include "serving/request.h"

namespace gpt2 {

namespace {

int64_t checkedContextLength(const Weights& weights, int64_t asked) {
  const int64_t own = weights.hyperparameters().contextLength;
  if (asked > own) {
    throw Error(code::kInvalidArgument, "Expected a contextLength of 1 to " + std::to_string(own) +
                                            ", the model's own, but received " +
                                            std::to_string(asked));
  }
  return asked == 0 ? own : asked;
}

std::optional<uint32_t> readEndOfText(const Weights& weights) {
  const MetadataValue* value = weights.files().first().find("tokenizer.ggml.eos_token_id");
  const std::optional<double> id = value == nullptr ? std::nullopt : value->number();
  const auto vocabSize = static_cast<double>(weights.hyperparameters().vocabSize);
  if (!id || !(*id >= 0 && *id < vocabSize)) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options, const CancelFlag* cancelled)
    : device_(options.device, options.threads == 0 ? physicalCpuCount() : options.threads),
      weights_(std::make_shared<const ModelFiles>(path, options.map, cancelled), device_,
               cancelled),
      contextLength_(checkedContextLength(weights_, options.contextLength)),
      cacheType_(options.cacheType.value_or(
          weights_.dominantType() == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_F16)),
      endOfText_(readEndOfText(weights_)),
      forwardPass_(weights_, device_, options.operators) {}

size_t Model::anonymousBytes() const noexcept {
  const size_t scratch = device_.isCpu() ? device_.threadPool().byteSize() : 0;
  return weights_.anonymousBytes() + forwardPass_.byteSize() + scratch +
         logits_.capacity() * sizeof(float);
}

std::unique_ptr<Session> Model::createSession() {
  return std::make_unique<Session>(KvCache(device_, weights_.hyperparameters(), cacheType_));
}

void Model::advance(const std::vector<Request*>& requests, const CancelFlag* cancelled) {
  if (requests.size() > 1 && !forwardPass_.sharesPasses()) {
    for (Request* request : requests) advance({request}, cancelled);
    return;
  }
  struct Row {
    Request* request;
    int64_t position;  // in its session
    int64_t start;     // of the session's slice
  };
  std::vector<Slice> slices;
  std::vector<Row> rows;
  for (Request* request : requests) {
    Session& session = request->session();
    const int64_t start = session.evaluated();
    Slice slice{&session, std::min(session.length() - start, ForwardPass::kSliceLength), {}};
    if (slice.count <= 0) throw Error(code::kInternal, "a request without tokens to evaluate");
    const std::vector<int64_t>& asked = request->asked();
    for (auto position = std::lower_bound(asked.begin(), asked.end(), start);
         position != asked.end() && *position < start + slice.count; ++position) {
      slice.rows.push_back(*position - start);
      rows.push_back({request, *position, start});
    }
    slices.push_back(std::move(slice));
  }
  const float* hidden = forwardPass_.run(slices, cancelled);

  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  const auto vocabSize = static_cast<size_t>(weights_.hyperparameters().vocabSize);
  size_t told = 0;
  try {
    while (told < rows.size()) {
      const size_t count = std::min<size_t>(rows.size() - told, ForwardPass::kHeadRows);
      logits_.resize(count * vocabSize);
      forwardPass_.logits(hidden + told * width, static_cast<int64_t>(count), requests.size() > 1,
                          logits_.data(), cancelled);
      for (size_t i = 0; i < count; ++i, ++told) {
        rows[told].request->tell(rows[told].position, logits_.data() + i * vocabSize);
      }
    }
  } catch (...) {
    // What was not heard is evaluated again.
    for (; told < rows.size(); ++told) {
      rows[told].request->session().markEvaluated(rows[told].start);
    }
    throw;
  }
}

}  // namespace gpt2
