#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace gpt2 {

struct Candidate {
  float logit;
  uint32_t token;
};

// By logit, descending; then by id, ascending, so that the order is the same on every machine.
inline bool isLikelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The nearest float that is a logit: numbers too large for a float become the largest, numbers too
// small and NaN −∞.
inline float toLogit(double value) {
  constexpr double kMax = std::numeric_limits<float>::max();
  if (!(value >= -kMax)) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(value > kMax ? kMax : value);
}

// The tokens that may come next, with their logits: first all tokens of a vocabulary, then those
// that the stages of a sampler leave. A logit of −∞ removes a token too. At least one has another.
//
// All tokens are an array of logits, so that changes and selections take SIMD's time; a selection
// is a list.
class Candidates {
 public:
  // logits: [vocabSize], without NaN and +∞.
  void assign(const float* logits, size_t vocabSize);

  // The logit of a token; null if it is not in the list any more.
  float* find(uint32_t token) noexcept;
  // Changes the logits of those tokens that are keys of a map, by change(logit, value). A removed
  // token stays removed.
  template <typename Map, typename Change>
  void change(const Map& values, const Change& change);
  void remove(uint32_t token) noexcept {
    if (float* logit = find(token)) *logit = -std::numeric_limits<float>::infinity();
  }
  // Multiplies all logits; they stay finite, or become −∞.
  void scale(float factor);

  // Removes all but these: ------------------------------------------------------------------------

  // This token, with the logit it had at first if it had been removed.
  void keepOnly(uint32_t token);
  // The `count` likeliest.
  void keepLikeliest(size_t count);
  // The smallest set of the likeliest whose probabilities sum to `total`; at least one.
  void keepTotal(double total);
  // The same of those whose surprisals are closest to the entropy.
  void keepTypical(double total);
  // Those whose logit is at least this; at least the likeliest.
  void keepAtLeast(double logit);

  // Properties: -----------------------------------------------------------------------------------

  // Whether no token is left.
  bool areAllRemoved();
  float largestLogit();
  // The logit of a candidate with this probability. Exact for that of the likeliest.
  double logitOf(double probability);
  // The logarithm of the sum of exp(logit).
  double logSumExp() { return logitOf(1); }
  // Their mean and variance, without those that are −∞.
  struct Moments {
    double mean;
    double variance;
  };
  Moments moments() const;
  // −Σ p ln p, in nats.
  double entropy();

  // The candidates whose logit is at least this.
  std::vector<Candidate> atLeast(double logit) const;
  // The candidates as a list, to be changed and reordered. When it is made, no logit is −∞.
  std::vector<Candidate>& list();
  // The logits of all tokens, −∞ for those that were removed. out: [vocabSize]
  void writeLogits(float* out) const;
  // A token, drawn in proportion to the probabilities. uniform: in [0, 1).
  uint32_t draw(double uniform);

 private:
  static bool isRemoved(float logit) noexcept {
    return logit == -std::numeric_limits<float>::infinity();
  }
  // The probabilities in the order of the logits or of the list, until either changes.
  const std::vector<float>& probabilities();
  // Keeps the smallest set, with this total probability, of candidates with the lowest ranks. These
  // are functions of the logits, at least 0. The likelier of equal ranks come first.
  template <typename RankOf>
  void keepLowest(double total, const RankOf& rankOf);
  template <typename Visit>
  void forEachAtLeast(float logit, const Visit& visit) const;
  // A logit that at least `count` candidates reach; −∞ if that is not known.
  float boundOfLikeliest(size_t count);

  const float* first_ = nullptr;  // the logits that were assigned, [vocabSize]
  std::vector<float> logits_;     // of all tokens, while isList_ is false
  std::vector<Candidate> list_;
  bool isList_ = false;
  bool areChanged_ = false;
  std::vector<float> probabilities_;
  bool hasProbabilities_ = false;
  std::vector<uint16_t> intervals_;  // of the candidates' ranks
  std::vector<float> maxima_;        // of blocks of logits
  std::vector<double> blockSums_;
};

template <typename Map, typename Change>
void Candidates::change(const Map& values, const Change& change) {
  hasProbabilities_ = false;
  areChanged_ = true;
  if (!isList_) {
    for (const auto& [token, value] : values) {
      if (token < logits_.size() && !isRemoved(logits_[token])) change(logits_[token], value);
    }
    return;
  }
  for (Candidate& candidate : list_) {
    const auto found = values.find(candidate.token);
    if (found != values.end() && !isRemoved(candidate.logit))
      change(candidate.logit, found->second);
  }
}

}  // namespace gpt2
