#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "serving/request.h"

namespace gpt2 {

// How the hidden states of a text's tokens become one.
enum class Pooling { kMean, kLast, kMax };

// Computes an embedding of tokens (at least one).
class EmbedRequest final : public Request {
 public:
  // layers: the embedding is of the residual stream after so many layers, or of the hidden states
  // after the final norm if these are all.
  EmbedRequest(Model& model, std::shared_ptr<Session> session, std::vector<uint32_t> tokens,
               int64_t layers, Pooling pooling);

  void begin() override;
  bool isFinished() const override { return session().evaluated() == session().length(); }
  // [width]
  std::vector<float> embedding() const;

 private:
  const std::vector<int64_t>& outputPositions() const override { return outputPositions_; }
  OutputKind output() const noexcept override;
  int64_t layers() const noexcept override { return layers_; }
  void onOutput(size_t index, const float* row) override;
  size_t width() const noexcept;

  int64_t layers_;
  Pooling pooling_;
  std::vector<int64_t> outputPositions_;
  std::vector<float> rows_;  // [width, output positions]
};

}  // namespace gpt2
