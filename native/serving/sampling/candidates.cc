#include "serving/sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();
constexpr size_t kBlock = 64;  // logits with one maximum

int64_t countOf(const std::vector<float>& values) { return static_cast<int64_t>(values.size()); }

}  // namespace

void Candidates::assign(const float* logits, size_t vocabSize) {
  first_ = logits;
  logits_.assign(logits, logits + vocabSize);
  isList_ = false;
  areChanged_ = false;
  hasProbabilities_ = false;
}

float* Candidates::find(uint32_t token) noexcept {
  hasProbabilities_ = false;
  areChanged_ = true;
  if (!isList_) return token < logits_.size() ? &logits_[token] : nullptr;
  const auto found = std::find_if(list_.begin(), list_.end(), [token](const Candidate& candidate) {
    return candidate.token == token;
  });
  return found == list_.end() ? nullptr : &found->logit;
}

// Large logits are shifted first, so that none becomes +∞.
void Candidates::scale(float factor) {
  const float top = largestLogit();
  const float shift = std::isfinite(top * factor) ? 0 : top;
  hasProbabilities_ = false;
  // Written so that the product of −∞ and a factor of 0 does not count.
  const auto scaled = [=](float logit) {
    const float product = (logit - shift) * factor;
    return logit == kRemoved ? kRemoved : product;
  };
  if (isList_) {
    for (Candidate& candidate : list_) candidate.logit = scaled(candidate.logit);
  } else {
    for (float& logit : logits_) logit = scaled(logit);
  }
}

bool Candidates::areAllRemoved() {
  if (isList_ && list_.empty()) return true;
  if (areChanged_ && largestLogit() == kRemoved) return true;
  areChanged_ = false;
  return false;
}

float Candidates::largestLogit() {
  if (!isList_) return largest(logits_.data(), countOf(logits_));
  float top = kRemoved;
  for (const Candidate& candidate : list_) top = std::max(top, candidate.logit);
  return top;
}

const std::vector<float>& Candidates::probabilities() {
  if (hasProbabilities_) return probabilities_;
  if (isList_) {
    probabilities_.resize(list_.size());
    for (size_t i = 0; i < list_.size(); ++i) probabilities_[i] = list_[i].logit;
  } else {
    probabilities_ = logits_;
  }
  softmax(probabilities_.data(), 1, countOf(probabilities_));
  hasProbabilities_ = true;
  return probabilities_;
}

// From the largest probability. Its kernel rounds the sum of all to f32, which their sum in double
// precision corrects.
double Candidates::logitOf(double probability) {
  const std::vector<float>& all = probabilities();
  const double top = largest(all.data(), countOf(all));
  const double sum = sumInDouble(all.data(), countOf(all));
  return static_cast<double>(largestLogit()) + std::log(probability * sum / top);
}

Candidates::Moments Candidates::moments() const {
  double count = 0;
  double sum = 0;
  const auto forEach = [&](const auto& visit) {
    if (isList_) {
      for (const Candidate& candidate : list_) visit(candidate.logit);
    } else {
      for (const float logit : logits_) visit(logit);
    }
  };
  forEach([&](float logit) {
    if (logit == kRemoved) return;
    count += 1;
    sum += logit;
  });
  const double mean = sum / count;
  double squares = 0;
  forEach([&](float logit) {
    if (logit != kRemoved) squares += (logit - mean) * (logit - mean);
  });
  return {mean, squares / count};
}

// −Σ p ln p = ln Σ exp(l) − Σ p l
double Candidates::entropy() {
  const double total = logSumExp();
  const std::vector<float>& all = probabilities();
  double mean = 0;
  double sum = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == 0) continue;
    const double p = all[i];
    mean += p * static_cast<double>(isList_ ? list_[i].logit : logits_[i]);
    sum += p;
  }
  return total - mean / sum;
}

// Visits the candidates, as {logit, token}, whose logit is at least this. Skips the blocks that
// have none.
template <typename Visit>
void Candidates::forEachAtLeast(float logit, const Visit& visit) const {
  for (size_t begin = 0; begin < logits_.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits_.size());
    if (largest(&logits_[begin], static_cast<int64_t>(end - begin)) < logit) continue;
    for (size_t i = begin; i < end; ++i) {
      if (logits_[i] >= logit) visit(Candidate{logits_[i], static_cast<uint32_t>(i)});
    }
  }
}

std::vector<Candidate> Candidates::atLeast(double logit) const {
  std::vector<Candidate> found;
  const auto visit = [&](const Candidate& each) {
    if (static_cast<double>(each.logit) >= logit) found.push_back(each);
  };
  if (isList_) {
    for (const Candidate& each : list_) visit(each);
  } else {
    const float lower = std::nextafter(toLogit(logit), kRemoved);
    forEachAtLeast(std::max(lower, std::numeric_limits<float>::lowest()), visit);
  }
  return found;
}

std::vector<Candidate>& Candidates::list() {
  hasProbabilities_ = false;
  if (isList_) return list_;
  list_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] != kRemoved) list_.push_back({logits_[i], static_cast<uint32_t>(i)});
  }
  isList_ = true;
  return list_;
}

// Of `count` blocks, the maxima are `count` different logits.
float Candidates::boundOfLikeliest(size_t count) {
  maxima_.clear();
  for (size_t begin = 0; begin < logits_.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits_.size());
    maxima_.push_back(largest(&logits_[begin], static_cast<int64_t>(end - begin)));
  }
  if (maxima_.size() < count) return kRemoved;
  const auto last = maxima_.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::nth_element(maxima_.begin(), last, maxima_.end(), std::greater<>());
  return *last;
}

void Candidates::keepOnly(uint32_t token) {
  const float* current = find(token);
  const float logit = current != nullptr && *current != kRemoved ? *current : first_[token];
  list_.assign(1, {logit == kRemoved ? 0 : logit, token});
  isList_ = true;
  hasProbabilities_ = false;
}

void Candidates::keepLikeliest(size_t count) {
  hasProbabilities_ = false;
  if (!isList_) {
    const float bound = boundOfLikeliest(count);
    list_.clear();
    if (bound == kRemoved) {
      list();
    } else {
      forEachAtLeast(bound, [&](const Candidate& candidate) { list_.push_back(candidate); });
      isList_ = true;
    }
  }
  const size_t kept = std::min(count, list_.size());
  std::partial_sort(list_.begin(), list_.begin() + static_cast<std::ptrdiff_t>(kept), list_.end(),
                    isLikelier);
  list_.resize(kept);
}

// Sums the probabilities by the ranks, which are divided into intervals. Only the candidates of the
// interval in which the total is reached are sorted.
template <typename RankOf>
void Candidates::keepLowest(double total, const RankOf& rankOf) {
  if (total >= 1) return;
  constexpr double kPerRank = 64;
  constexpr size_t kIntervals = 2048;  // the last has all ranks from 32 on
  const std::vector<float>& all = probabilities();
  intervals_.resize(all.size());
  std::vector<double> sums(kIntervals, 0);
  const auto candidateAt = [this](size_t i) {
    return isList_ ? list_[i] : Candidate{logits_[i], static_cast<uint32_t>(i)};
  };
  for (size_t i = 0; i < all.size(); ++i) {
    const double rank = all[i] == 0 ? kIntervals : rankOf(candidateAt(i).logit);
    const double interval = std::min(rank * kPerRank, static_cast<double>(kIntervals - 1));
    intervals_[i] = static_cast<uint16_t>(interval);
    sums[intervals_[i]] += all[i];
  }
  double missing = total * sumInDouble(all.data(), countOf(all));
  size_t last = 0;
  while (last < kIntervals - 1 && sums[last] < missing) missing -= sums[last++];

  std::vector<Candidate> kept;
  std::vector<std::pair<double, Candidate>> ranked;  // those of the last interval
  for (size_t i = 0; i < all.size(); ++i) {
    if (intervals_[i] < last) kept.push_back(candidateAt(i));
    if (intervals_[i] == last && all[i] > 0) {
      ranked.emplace_back(rankOf(candidateAt(i).logit), candidateAt(i));
    }
  }
  std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : isLikelier(a.second, b.second);
  });
  const double top = largestLogit();
  const double topProbability = largest(all.data(), countOf(all));
  for (const auto& [rank, candidate] : ranked) {
    if (missing <= 0 && !kept.empty()) break;
    kept.push_back(candidate);
    missing -= topProbability * std::exp(static_cast<double>(candidate.logit) - top);
  }
  list_ = std::move(kept);
  isList_ = true;
  hasProbabilities_ = false;
}

// Most often, a few of the 50,257 tokens have nearly all of the total.
void Candidates::keepTotal(double total) {
  constexpr size_t kFew = 256;
  if (!isList_ && total < 1 && logits_.size() > kFew) {
    const std::vector<float>& all = probabilities();
    const double wanted = total * sumInDouble(all.data(), countOf(all));
    keepLikeliest(kFew);
    double sum = 0;
    for (size_t i = 0; i < list_.size(); ++i) {
      sum += all[list_[i].token];
      if (sum < wanted) continue;
      list_.resize(i + 1);
      return;
    }
    isList_ = false;
  }
  const double top = largestLogit();
  keepLowest(total, [top](float logit) { return top - static_cast<double>(logit); });
}

void Candidates::keepTypical(double total) {
  if (total >= 1) return;
  const double typical = logSumExp() - entropy();
  keepLowest(total,
             [typical](float logit) { return std::abs(typical - static_cast<double>(logit)); });
}

void Candidates::keepAtLeast(double logit) {
  if (logit > static_cast<double>(largestLogit())) return keepLikeliest(1);
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  // The smallest float that is not below it.
  float bound = std::max(toLogit(logit), kLowest);
  if (static_cast<double>(bound) < logit) {
    bound = std::nextafter(bound, std::numeric_limits<float>::infinity());
  }
  hasProbabilities_ = false;
  if (isList_) {
    list_.erase(std::remove_if(list_.begin(), list_.end(),
                               [bound](const Candidate& each) { return each.logit < bound; }),
                list_.end());
    return;
  }
  list_.clear();
  forEachAtLeast(bound, [&](const Candidate& candidate) { list_.push_back(candidate); });
  isList_ = true;
}

void Candidates::writeLogits(float* out) const {
  if (!isList_) {
    std::copy(logits_.begin(), logits_.end(), out);
    return;
  }
  std::fill(out, out + logits_.size(), kRemoved);
  for (const Candidate& candidate : list_) out[candidate.token] = candidate.logit;
}

// Whole blocks are summed first, with SIMD; only the block that holds the result is searched number
// by number.
uint32_t Candidates::draw(double uniform) {
  const std::vector<float>& weights = probabilities();
  const auto tokenAt = [this](size_t i) {
    return isList_ ? list_[i].token : static_cast<uint32_t>(i);
  };
  constexpr size_t kSummed = 512;
  blockSums_.clear();
  double total = 0;
  size_t lastBlock = 0;  // the last with a positive weight
  for (size_t begin = 0; begin < weights.size(); begin += kSummed) {
    const size_t count = std::min(kSummed, weights.size() - begin);
    blockSums_.push_back(sumInDouble(&weights[begin], static_cast<int64_t>(count)));
    total += blockSums_.back();
    if (blockSums_.back() > 0) lastBlock = blockSums_.size() - 1;
  }
  double remaining = uniform * total;
  size_t block = 0;
  while (block < lastBlock && remaining >= blockSums_[block]) {
    remaining -= blockSums_[block++];
  }
  size_t lastWeighted = 0;  // the result if rounding leaves a remainder
  const size_t end = std::min((block + 1) * kSummed, weights.size());
  for (size_t i = block * kSummed; i < end; ++i) {
    if (weights[i] > 0) lastWeighted = i;
    remaining -= weights[i];
    if (remaining < 0) return tokenAt(i);
  }
  return tokenAt(lastWeighted);
}

}  // namespace gpt2
