// Stages that scale the logits, or remove unlikely (with XTC, likely) candidates.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <unordered_map>

#include "base/split_mix.h"
#include "serving/sampling/stages.h"

namespace gpt2 {

namespace {

// Divides the logits. With 0, or so close to it that its inverse is no float, keeps the likeliest.
class Temperature final : public CopiedStage<Temperature> {
 public:
  explicit Temperature(const StageOptions& options) : factor_(1 / options.number("temperature")) {}

  void apply(Candidates& candidates) override {
    if (factor_ > std::numeric_limits<float>::max()) {
      candidates.keepLikeliest(1);
    } else {
      candidates.scale(static_cast<float>(factor_));
    }
  }

 private:
  double factor_;
};

// Keeps logits within n standard deviations of the largest (Tang et al. 2024, "Top-nσ").
class TopNSigma final : public CopiedStage<TopNSigma> {
 public:
  explicit TopNSigma(const StageOptions& options) : n_(options.number("n")) {}

  void apply(Candidates& candidates) override {
    const double top = candidates.largestLogit();
    candidates.keepAtLeast(top - n_ * std::sqrt(candidates.moments().variance));
  }

 private:
  double n_;
};

// Keeps the k likeliest (Fan et al. 2018).
class TopK final : public CopiedStage<TopK> {
 public:
  explicit TopK(const StageOptions& options) : k_(options.count("k")) {}

  void apply(Candidates& candidates) override {
    if (k_ > 0) candidates.keepLikeliest(k_);
  }

 private:
  size_t k_;
};

// Keeps the smallest set of tokens with a total probability of p whose surprisals are closest to
// the entropy (Meister et al. 2022, "Locally Typical Sampling").
class TypicalP final : public CopiedStage<TypicalP> {
 public:
  explicit TypicalP(const StageOptions& options) : p_(options.number("p")) {}

  void apply(Candidates& candidates) override { candidates.keepTypical(p_); }

 private:
  double p_;
};

// Keeps the smallest set of the likeliest tokens with a total probability of p (Holtzman et al.
// 2019, nucleus sampling).
class TopP final : public CopiedStage<TopP> {
 public:
  explicit TopP(const StageOptions& options) : p_(options.number("p")) {}
  void apply(Candidates& candidates) override { candidates.keepTotal(p_); }

 private:
  double p_;
};

// Keeps tokens with at least p times the largest probability (Nguyen et al. 2024, "Min-p").
class MinP final : public CopiedStage<MinP> {
 public:
  explicit MinP(const StageOptions& options) : p_(options.number("p")) {}

  void apply(Candidates& candidates) override {
    if (p_ > 0) candidates.keepAtLeast(candidates.largestLogit() + std::log(p_));
  }

 private:
  double p_;
};

// Exclude top choices: with a probability, removes all tokens that reach a threshold but the least
// likely of them (https://github.com/oobabooga/text-generation-webui/pull/6335).
class Xtc final : public CopiedStage<Xtc> {
 public:
  Xtc(const StageOptions& options, uint64_t seed)
      : probability_(options.number("probability")),
        threshold_(options.number("threshold")),
        first_(splitMix(seed ^ kStream)),
        state_(first_) {}

  void reset() override { state_ = first_; }

  void apply(Candidates& candidates) override {
    state_ += kSplitMixStep;
    if (static_cast<double>(splitMix(state_) >> 11U) * 0x1p-53 >= probability_) return;
    const std::vector<Candidate> choices = candidates.atLeast(candidates.logitOf(threshold_));
    if (choices.size() < 2) return;
    const auto last = std::max_element(choices.begin(), choices.end(), isLikelier);
    for (const Candidate& each : choices) {
      if (each.token != last->token) candidates.remove(each.token);
    }
  }

 private:
  static constexpr uint64_t kStream = 0x787463;  // so that the draws differ from the sampler's
  double probability_;
  double threshold_;
  uint64_t first_;
  uint64_t state_;
};

// Keeps tokens with a surprisal of at most μ bits, and moves μ so that the surprisal of the tokens
// drawn is τ on average (Basu et al. 2021, "Mirostat", version 2).
class Mirostat final : public CopiedStage<Mirostat> {
 public:
  explicit Mirostat(const StageOptions& options)
      : tau_(options.number("tau")), eta_(options.number("eta")), mu_(2 * tau_) {}

  void reset() override {
    mu_ = 2 * tau_;
    surprisals_.clear();
  }

  void apply(Candidates& candidates) override {
    const double ln2 = std::log(2.0);
    candidates.keepAtLeast(candidates.logitOf(std::exp2(-mu_)));
    const double total = candidates.logSumExp();
    surprisals_.clear();
    for (const Candidate& each : candidates.list()) {
      surprisals_[each.token] = (total - static_cast<double>(each.logit)) / ln2;
    }
  }

  void accept(uint32_t token) override {
    const auto drawn = surprisals_.find(token);
    if (drawn == surprisals_.end()) return;  // a token of the prompt
    mu_ -= eta_ * (drawn->second - tau_);
    surprisals_.clear();
  }

 private:
  double tau_;  // bits
  double eta_;
  double mu_;                                        // bits
  std::unordered_map<uint32_t, double> surprisals_;  // of the candidates, in bits
};

}  // namespace

std::unique_ptr<Stage> makeTemperature(const StageOptions& options, const StageContext&) {
  return std::make_unique<Temperature>(options);
}

std::unique_ptr<Stage> makeTopNSigma(const StageOptions& options, const StageContext&) {
  return std::make_unique<TopNSigma>(options);
}

std::unique_ptr<Stage> makeTopK(const StageOptions& options, const StageContext&) {
  return std::make_unique<TopK>(options);
}

std::unique_ptr<Stage> makeTypicalP(const StageOptions& options, const StageContext&) {
  return std::make_unique<TypicalP>(options);
}

std::unique_ptr<Stage> makeTopP(const StageOptions& options, const StageContext&) {
  return std::make_unique<TopP>(options);
}

std::unique_ptr<Stage> makeMinP(const StageOptions& options, const StageContext&) {
  return std::make_unique<MinP>(options);
}

std::unique_ptr<Stage> makeXtc(const StageOptions& options, const StageContext& context) {
  return std::make_unique<Xtc>(options, context.seed);
}

std::unique_ptr<Stage> makeMirostat(const StageOptions& options, const StageContext&) {
  return std::make_unique<Mirostat>(options);
}

}  // namespace gpt2
