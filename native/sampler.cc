#include "sampler.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace gpt2 {

namespace {

// Likeliest first; of equals, the lower id, so that the order is one on every machine.
template <typename Candidate>
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) {}

// SplitMix64 (Steele, Lea & Flood 2014): one 64-bit state, so every seed is a good one.
double Sampler::nextUniform() {
  state_ += 0x9e3779b97f4a7c15U;
  uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  z ^= z >> 31U;
  return static_cast<double>(z >> 11U) * 0x1p-53;
}

// Brings the `count` likeliest candidates to the front, in order.
void Sampler::orderLikeliest(size_t count) {
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(candidates_.begin(), end, candidates_.end(), likelier<Candidate>);
}

// How many of the likeliest candidates it takes for their probabilities to reach topP. Orders no
// more of them than needed: the nucleus is a few tokens of 50,257 as a rule.
size_t Sampler::countForTopP(double total, double scale, float largest) {
  constexpr size_t kFirst = 64;
  constexpr size_t kGrowth = 8;
  double sum = 0;
  size_t done = 0;
  for (size_t ordered = std::min(kFirst, candidates_.size());;
       ordered = std::min(ordered * kGrowth, candidates_.size())) {
    orderLikeliest(ordered);
    for (; done < ordered; ++done) {
      sum += std::exp((candidates_[done].logit - largest) * scale);
      if (sum >= options_.topP * total) return done + 1;
    }
    if (ordered == candidates_.size()) return ordered;
  }
}

// Temperature, then top-k, then top-p, as Hugging Face's generate does: p is a share of what k
// left.
uint32_t Sampler::sample(const float* logits, size_t vocabSize) {
  uint32_t best = 0;
  bool finite = true;
  for (size_t i = 0; i < vocabSize; ++i) {
    finite = finite && std::isfinite(logits[i]);
    if (logits[i] > logits[best]) best = static_cast<uint32_t>(i);
  }
  if (!finite) {
    throw Error(
        code::kNotFinite,
        "the model's logits are not all finite numbers, so no token can be drawn from them");
  }
  const double scale = 1 / options_.temperature;
  if (std::isinf(scale)) return best;  // 0, or as good as 0
  const float largest = logits[best];
  candidates_.resize(vocabSize);
  for (size_t i = 0; i < vocabSize; ++i) candidates_[i] = {logits[i], static_cast<uint32_t>(i)};

  if (options_.topK > 0 && static_cast<size_t>(options_.topK) < vocabSize) {
    orderLikeliest(static_cast<size_t>(options_.topK));
    candidates_.resize(static_cast<size_t>(options_.topK));
  }
  const auto weightOf = [&](const Candidate& c) { return std::exp((c.logit - largest) * scale); };
  double total = 0;
  for (const Candidate& candidate : candidates_) total += weightOf(candidate);
  if (options_.topP < 1) {
    candidates_.resize(countForTopP(total, scale, largest));
    total = 0;
    for (const Candidate& candidate : candidates_) total += weightOf(candidate);
  }

  double remaining = nextUniform() * total;
  for (const Candidate& candidate : candidates_) {
    remaining -= weightOf(candidate);
    if (remaining < 0) return candidate.token;
  }
  return candidates_.back().token;  // rounding left a little over
}

}  // namespace gpt2
