#include "serving/embed_request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

EmbedRequest::EmbedRequest(Model& model, std::shared_ptr<Session> session,
                           std::vector<uint32_t> tokens, int64_t layers, Pooling pooling)
    : Request(model, std::move(session), 0, std::move(tokens)),
      layers_(layers),
      pooling_(pooling) {}

size_t EmbedRequest::width() const noexcept {
  return static_cast<size_t>(model().weights().hyperparameters().embeddingLength);
}

OutputKind EmbedRequest::output() const noexcept {
  const int64_t all = model().weights().hyperparameters().layerCount;
  return layers_ < all ? OutputKind::kResidual : OutputKind::kHidden;
}

void EmbedRequest::begin() {
  const int64_t all = model().weights().hyperparameters().layerCount;
  if (layers_ < 0 || layers_ > all) {
    throw Error(code::kInvalidArgument, "Expected a layer from 0 to " + std::to_string(all) +
                                            " but received " + std::to_string(layers_));
  }
  if (tokenCount() == 0) throw Error(code::kInvalidArgument, "Expected at least one token");
  Request::begin();
  for (int64_t i = pooling_ == Pooling::kLast ? tokenCount() - 1 : 0; i < tokenCount(); ++i) {
    outputPositions_.push_back(i);
  }
  rows_.resize(outputPositions_.size() * width());
}

void EmbedRequest::onOutput(size_t index, const float* row) {
  std::copy_n(row, width(), &rows_[index * width()]);
}

// In the order of the tokens, whatever the order in which their rows came.
std::vector<float> EmbedRequest::embedding() const {
  const size_t count = outputPositions_.size();
  std::vector<float> pooled(width());
  for (size_t i = 0; i < pooled.size(); ++i) {
    double sum = 0;
    float largest = rows_[i];
    for (size_t row = 0; row < count; ++row) {
      const float value = rows_[row * pooled.size() + i];
      sum += value;
      largest = std::max(largest, value);
    }
    pooled[i] =
        pooling_ == Pooling::kMax ? largest : static_cast<float>(sum / static_cast<double>(count));
  }
  return pooled;
}

}  // namespace gpt2
