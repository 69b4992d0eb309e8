#include "serving/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/split_mix.h"
#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

// Likeliest first; of equals, the lower id, so that the order is one on every machine.
template <typename Candidate>
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) {}

// One 64-bit state, so every seed is a good one.
double Sampler::nextUniform() {
  state_ += kSplitMixStep;
  return static_cast<double>(splitMix(state_) >> 11U) * 0x1p-53;
}

// Brings the `count` likeliest candidates to the front, in order.
void Sampler::orderLikeliest(size_t count) {
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(candidates_.begin(), end, candidates_.end(), likelier<Candidate>);
}

// How many of the likeliest candidates it takes for their probabilities to reach topP of `total`.
// Orders no more of them than needed: the nucleus is a few tokens of 50,257 as a rule.
size_t Sampler::countForTopP(double total) {
  constexpr size_t kFirst = 64;
  constexpr size_t kGrowth = 8;
  double sum = 0;
  size_t done = 0;
  for (size_t ordered = std::min(kFirst, candidates_.size());;
       ordered = std::min(ordered * kGrowth, candidates_.size())) {
    orderLikeliest(ordered);
    for (; done < ordered; ++done) {
      sum += weights_[candidates_[done].token];
      if (sum >= options_.topP * total) return done + 1;
    }
    if (ordered == candidates_.size()) return ordered;
  }
}

// Leaves the candidates that top-k and then top-p leave: p is a share of what k left.
void Sampler::choose(const float* logits) {
  candidates_.resize(weights_.size());
  for (size_t i = 0; i < candidates_.size(); ++i) {
    candidates_[i] = {logits[i], static_cast<uint32_t>(i)};
  }
  if (options_.topK > 0 && static_cast<size_t>(options_.topK) < candidates_.size()) {
    orderLikeliest(static_cast<size_t>(options_.topK));
    candidates_.resize(static_cast<size_t>(options_.topK));
  }
  if (options_.topP < 1) {
    double total = 0;
    for (const Candidate& candidate : candidates_) total += weights_[candidate.token];
    candidates_.resize(countForTopP(total));
  }
}

// Temperature, then top-k, then top-p, as Hugging Face's generate does.
uint32_t Sampler::sample(const float* logits, size_t vocabSize) {
  const auto count = static_cast<int64_t>(vocabSize);
  if (!areFinite(logits, count)) {
    throw Error(
        code::kNotFinite,
        "the model's logits are not all finite numbers, so no token can be drawn from them");
  }
  const double scale = 1 / options_.temperature;
  if (scale > std::numeric_limits<float>::max()) {  // temperature 0, or as good as 0
    const float* best = std::find(logits, logits + vocabSize, largest(logits, count));
    return static_cast<uint32_t>(best - logits);
  }
  weights_.assign(logits, logits + vocabSize);
  softmax(weights_.data(), static_cast<float>(scale), count);

  if (options_.topK == 0 && options_.topP == 1) {
    return static_cast<uint32_t>(draw(weights_));
  }
  choose(logits);
  chosen_.resize(candidates_.size());
  for (size_t i = 0; i < chosen_.size(); ++i) chosen_[i] = weights_[candidates_[i].token];
  return candidates_[draw(chosen_)].token;
}

// An index, each as likely as its weight says. Blocks are added up first, which the processor does
// on many numbers at once; taking away number by number is left for one of them.
size_t Sampler::draw(const std::vector<float>& weights) {
  constexpr size_t kBlock = 512;
  blockSums_.clear();
  double total = 0;
  size_t lastBlock = 0;  // with a weight
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, weights.size() - begin);
    blockSums_.push_back(sumInDouble(&weights[begin], static_cast<int64_t>(count)));
    total += blockSums_.back();
    if (blockSums_.back() > 0) lastBlock = blockSums_.size() - 1;
  }
  double remaining = nextUniform() * total;
  size_t block = 0;
  while (block < lastBlock && remaining >= blockSums_[block]) {
    remaining -= blockSums_[block++];
  }
  size_t lastWeighted = 0;  // for what rounding leaves over
  const size_t end = std::min((block + 1) * kBlock, weights.size());
  for (size_t i = block * kBlock; i < end; ++i) {
    if (weights[i] > 0) lastWeighted = i;
    remaining -= weights[i];
    if (remaining < 0) return i;
  }
  return lastWeighted;
}

}  // namespace gpt2
