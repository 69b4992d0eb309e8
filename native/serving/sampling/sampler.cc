#include "serving/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/split_mix.h"
#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

// By logit, descending; then by id, ascending, so that the order is the same on every machine.
template <typename Candidate>
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) {}

// With 64 bits of state, every seed is as good as any other.
double Sampler::nextUniform() {
  state_ += kSplitMixStep;
  return static_cast<double>(splitMix(state_) >> 11U) * 0x1p-53;
}

// Moves the `count` likeliest candidates to the front, in order.
void Sampler::orderLikeliest(size_t count) {
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(candidates_.begin(), end, candidates_.end(), likelier<Candidate>);
}

// The number of likeliest candidates whose probabilities reach topP × `total`. Orders no more of
// them than needed: the nucleus usually has a few of the 50,257 tokens.
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

// Reduces the candidates by top-k, then by top-p, where p is a share of what top-k leaves.
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
        "the model's logits are not all finite numbers, so no token can be sampled from them");
  }
  const double scale = 1 / options_.temperature;
  if (scale > std::numeric_limits<float>::max()) {  // a temperature of 0, or close to it
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

// An index, drawn in proportion to the weights. Whole blocks are summed first, with SIMD; only the
// block that holds the result is searched number by number.
size_t Sampler::draw(const std::vector<float>& weights) {
  constexpr size_t kBlock = 512;
  blockSums_.clear();
  double total = 0;
  size_t lastBlock = 0;  // the last with a positive weight
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
  size_t lastWeighted = 0;  // the result if rounding leaves a remainder
  const size_t end = std::min((block + 1) * kBlock, weights.size());
  for (size_t i = block * kBlock; i < end; ++i) {
    if (weights[i] > 0) lastWeighted = i;
    remaining -= weights[i];
    if (remaining < 0) return i;
  }
  return lastWeighted;
}

}  // namespace gpt2
