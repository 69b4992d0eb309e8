#include "serving/evaluate_request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace gpt2 {

EvaluateRequest::EvaluateRequest(Model& model, std::shared_ptr<Session> session, int64_t keep,
                                 std::vector<uint32_t> tokens,
                                 const std::vector<int64_t>& positions, float* out)
    : Request(model, std::move(session), keep, std::move(tokens)), out_(out) {
  rows_.reserve(positions.size());
  for (const int64_t position : positions) rows_.push_back({position, rows_.size()});
  std::stable_sort(rows_.begin(), rows_.end(),
                   [](const Row& a, const Row& b) { return a.position < b.position; });
}

void EvaluateRequest::begin() {
  if (tokenCount() == 0) throw Error(code::kInvalidArgument, "Expected at least one token");
  for (const Row& row : rows_) {
    if (row.position < 0 || row.position >= tokenCount()) {
      throw Error(code::kInvalidArgument, "Expected positions below " +
                                              std::to_string(tokenCount()) + " but received " +
                                              std::to_string(row.position));
    }
  }
  Request::begin();
  outputPositions_.reserve(rows_.size());
  for (Row& row : rows_) {
    row.position += keep();
    if (outputPositions_.empty() || outputPositions_.back() != row.position)
      outputPositions_.push_back(row.position);
  }
}

void EvaluateRequest::onOutput(size_t index, const float* row) {
  const int64_t position = outputPositions_[index];
  auto wanted = std::lower_bound(rows_.begin(), rows_.end(), position,
                                 [](const Row& a, int64_t sought) { return a.position < sought; });
  for (; wanted != rows_.end() && wanted->position == position; ++wanted) {
    std::copy_n(row, vocabSize(), out_ + wanted->index * vocabSize());
  }
}

}  // namespace gpt2
