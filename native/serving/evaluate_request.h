#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "serving/request.h"

namespace gpt2 {

// Appends tokens (at least one) to a session and returns logits.
class EvaluateRequest final : public Request {
 public:
  // positions: indices into `tokens`, in any order. out: [vocabulary, positions.size()], receives
  // the logits that follow each of these tokens; must stay valid until the request has ended.
  EvaluateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                  std::vector<uint32_t> tokens, const std::vector<int64_t>& positions, float* out);

  void begin() override;
  bool isFinished() const override { return session().evaluated() == session().length(); }

 private:
  const std::vector<int64_t>& outputPositions() const override { return outputPositions_; }
  void onOutput(size_t index, const float* row) override;

  struct Row {
    int64_t position;  // in `tokens`; after begin(), in the session
    size_t index;      // of the row in `out`
  };

  std::vector<Row> rows_;  // by position, ascending
  std::vector<int64_t> outputPositions_;
  float* out_;
};

}  // namespace gpt2
