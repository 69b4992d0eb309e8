// Stages against the repetition of passages.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "serving/sampling/stages.h"

namespace gpt2 {

namespace {

// Calls visit(next, length) for each token `next` that follows an earlier occurrence of the text's
// last tokens; `length` of them occurred there, at least one. Takes linear time: these are the
// lengths of the Z-algorithm (Gusfield 1997) on the reversed text.
template <typename Visit>
void forEachRecurrence(const uint32_t* tokens, size_t count, const Visit& visit) {
  const auto reversed = [&](size_t i) { return tokens[count - 1 - i]; };
  std::vector<size_t> lengths(count, 0);
  size_t begin = 0;  // of the match that reaches furthest, and its end
  size_t end = 0;
  for (size_t i = 1; i < count; ++i) {
    size_t length = i < end ? std::min(lengths[i - begin], end - i) : 0;
    while (i + length < count && reversed(length) == reversed(i + length)) ++length;
    lengths[i] = length;
    if (i + length > end) {
      begin = i;
      end = i + length;
    }
    if (length > 0) visit(reversed(i - 1), length);
  }
}

// Penalises a token by base^(L − allowedLength) if it would lengthen a repetition of L tokens. A
// repetition does not extend over a breaker
// (https://github.com/oobabooga/text-generation-webui/pull/5677).
class Dry final : public CopiedStage<Dry> {
 public:
  Dry(const StageOptions& options, const StageContext& context)
      : multiplier_(options.number("multiplier")),
        base_(options.number("base")),
        allowedLength_(options.number("allowedLength")),
        window_(options.count("window")) {
    for (const auto& sequence : options.sequences) {
      breakers_.insert(sequence.begin(), sequence.end());
    }
    if (!context.trie) return;
    for (const std::string& text : options.texts) {
      for (const uint32_t token : context.trie->containing(text)) breakers_.insert(token);
    }
  }

  void accept(uint32_t token) override {
    tokens_.push_back(token);
    unbroken_ = breakers_.count(token) != 0 ? 0 : unbroken_ + 1;
  }

  void reset() override {
    tokens_.clear();
    unbroken_ = 0;
  }

  void apply(Candidates& candidates) override {
    const size_t count = window_ == 0 ? tokens_.size() : std::min(window_, tokens_.size());
    std::unordered_map<uint32_t, size_t> lengths;
    forEachRecurrence(tokens_.data() + (tokens_.size() - count), count,
                      [&](uint32_t next, size_t length) {
                        if (breakers_.count(next) != 0) return;
                        size_t& longest = lengths[next];
                        longest = std::max(longest, std::min(length, unbroken_));
                      });
    candidates.change(lengths, [this](float& logit, size_t length) {
      const double excess = static_cast<double>(length) - allowedLength_;
      if (length == 0 || excess < 0 || multiplier_ == 0) return;
      logit = toLogit(logit - multiplier_ * std::pow(base_, excess));
    });
  }

 private:
  double multiplier_;
  double base_;
  double allowedLength_;
  size_t window_;  // 0: all tokens
  std::unordered_set<uint32_t> breakers_;
  std::vector<uint32_t> tokens_;
  size_t unbroken_ = 0;  // tokens after the last breaker
};

// Removes the tokens that would complete a sequence of n tokens which the text has already (Paulus
// et al. 2017, as in Hugging Face's generate).
class NoRepeatNgram final : public CopiedStage<NoRepeatNgram> {
 public:
  explicit NoRepeatNgram(const StageOptions& options) : size_(options.count("size")) {}

  void accept(uint32_t token) override { tokens_.push_back(token); }
  void reset() override { tokens_.clear(); }

  void apply(Candidates& candidates) override {
    if (size_ == 0) return;
    std::unordered_map<uint32_t, bool> banned;
    if (size_ == 1) {
      for (const uint32_t token : tokens_) banned[token] = true;
    } else {
      forEachRecurrence(tokens_.data(), tokens_.size(), [&](uint32_t next, size_t length) {
        if (length >= size_ - 1) banned[next] = true;
      });
    }
    candidates.change(banned,
                      [](float& logit, bool) { logit = -std::numeric_limits<float>::infinity(); });
  }

 private:
  size_t size_;
  std::vector<uint32_t> tokens_;
};

}  // namespace

std::unique_ptr<Stage> makeDry(const StageOptions& options, const StageContext& context) {
  return std::make_unique<Dry>(options, context);
}

std::unique_ptr<Stage> makeNoRepeatNgram(const StageOptions& options, const StageContext&) {
  return std::make_unique<NoRepeatNgram>(options);
}

}  // namespace gpt2
