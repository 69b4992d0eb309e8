// Penalties for tokens that the text has already, within a window of its last tokens.

#include <cstddef>
#include <deque>
#include <unordered_map>

#include "serving/sampling/stages.h"

namespace gpt2 {

namespace {

// The last tokens of a text, and how often each is among them.
class TokenWindow {
 public:
  explicit TokenWindow(size_t length) : length_(length) {}  // 0: all tokens

  const std::unordered_map<uint32_t, int64_t>& counts() const noexcept { return counts_; }

  void push(uint32_t token) {
    ++counts_[token];
    if (length_ == 0) return;
    tokens_.push_back(token);
    if (tokens_.size() <= length_) return;
    const auto oldest = counts_.find(tokens_.front());
    if (--oldest->second == 0) counts_.erase(oldest);
    tokens_.pop_front();
  }

  void clear() {
    tokens_.clear();
    counts_.clear();
  }

 private:
  size_t length_;
  std::deque<uint32_t> tokens_;  // stays empty if all are counted
  std::unordered_map<uint32_t, int64_t> counts_;
};

template <typename Derived>
class Penalty : public CopiedStage<Derived> {
 public:
  explicit Penalty(const StageOptions& options)
      : window_(options.count("window")), penalty_(options.number("penalty")) {}
  void accept(uint32_t token) override { window_.push(token); }
  void reset() override { window_.clear(); }

 protected:
  const TokenWindow& window() const noexcept { return window_; }
  double penalty() const noexcept { return penalty_; }

 private:
  TokenWindow window_;
  double penalty_;
};

// Divides positive logits and multiplies negative ones (Keskar et al. 2019, CTRL, as in Hugging
// Face's generate).
class RepetitionPenalty final : public Penalty<RepetitionPenalty> {
 public:
  using Penalty::Penalty;
  void apply(Candidates& candidates) override {
    candidates.change(window().counts(), [this](float& logit, int64_t) {
      const double value = logit;
      logit = toLogit(value > 0 ? value / penalty() : value * penalty());
    });
  }
};

// Subtracts the penalty once for each token in the window (OpenAI's API reference).
class PresencePenalty final : public Penalty<PresencePenalty> {
 public:
  using Penalty::Penalty;
  void apply(Candidates& candidates) override {
    candidates.change(window().counts(),
                      [this](float& logit, int64_t) { logit = toLogit(logit - penalty()); });
  }
};

// Subtracts the penalty for each occurrence of a token in the window (ibidem).
class FrequencyPenalty final : public Penalty<FrequencyPenalty> {
 public:
  using Penalty::Penalty;
  void apply(Candidates& candidates) override {
    candidates.change(window().counts(), [this](float& logit, int64_t count) {
      logit = toLogit(logit - static_cast<double>(count) * penalty());
    });
  }
};

}  // namespace

std::unique_ptr<Stage> makeRepetitionPenalty(const StageOptions& options, const StageContext&) {
  return std::make_unique<RepetitionPenalty>(options);
}

std::unique_ptr<Stage> makePresencePenalty(const StageOptions& options, const StageContext&) {
  return std::make_unique<PresencePenalty>(options);
}

std::unique_ptr<Stage> makeFrequencyPenalty(const StageOptions& options, const StageContext&) {
  return std::make_unique<FrequencyPenalty>(options);
}

}  // namespace gpt2
