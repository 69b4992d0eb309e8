// Stages that ban, favour or force certain tokens.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "serving/sampling/stages.h"

namespace gpt2 {

namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

// The end of a text, as long as the longest of some sequences of tokens.
class SequenceEnd {
 public:
  explicit SequenceEnd(const std::vector<std::vector<uint32_t>>& sequences) {
    for (const auto& sequence : sequences) length_ = std::max(length_, sequence.size());
  }

  void push(uint32_t token) {
    tokens_.push_back(token);
    if (tokens_.size() > length_) tokens_.erase(tokens_.begin());
  }
  void clear() { tokens_.clear(); }

  // Whether the text ends with all tokens of the sequence but the last.
  bool continues(const std::vector<uint32_t>& sequence) const {
    const size_t before = sequence.size() - 1;
    return before <= tokens_.size() &&
           std::equal(tokens_.end() - static_cast<std::ptrdiff_t>(before), tokens_.end(),
                      sequence.begin());
  }

 private:
  size_t length_ = 0;
  std::vector<uint32_t> tokens_;
};

// Removes the tokens that would complete a sequence of tokens, or a string, wherever its bytes
// begin and end in the tokens.
class BadWords final : public CopiedStage<BadWords> {
 public:
  BadWords(const StageOptions& options, const StageContext& context)
      : sequences_(options.sequences), end_(options.sequences), trie_(context.trie) {
    if (!trie_) return;
    for (const std::string& text : options.texts) {
      strings_.push_back({StringMatcher(text), 0});
      for (const uint32_t token : trie_->containing(text)) containing_.emplace(token, true);
    }
  }

  void accept(uint32_t token) override {
    end_.push(token);
    for (String& string : strings_) {
      for (const char byte : trie_->tokens().of(token)) {
        string.state = string.matcher.next(string.state, byte);
      }
    }
  }

  void reset() override {
    end_.clear();
    for (String& string : strings_) string.state = 0;
  }

  void apply(Candidates& candidates) override {
    for (const auto& sequence : sequences_) {
      if (end_.continues(sequence)) candidates.remove(sequence.back());
    }
    candidates.change(containing_, [](float& logit, bool) { logit = kRemoved; });
    for (const String& string : strings_) {
      for (const uint32_t token : trie_->completing(string.matcher, string.state)) {
        candidates.remove(token);
      }
    }
  }

 private:
  struct String {
    StringMatcher matcher;
    size_t state;
  };

  std::vector<std::vector<uint32_t>> sequences_;
  SequenceEnd end_;
  std::shared_ptr<const TokenTrie> trie_;
  std::vector<String> strings_;
  std::unordered_map<uint32_t, bool> containing_;  // the tokens that contain one of the strings
};

// Adds to the logit of the last token of a sequence, where the text ends with the others (Hugging
// Face's sequence_bias).
class LogitBias final : public CopiedStage<LogitBias> {
 public:
  explicit LogitBias(const StageOptions& options)
      : sequences_(options.sequences), biases_(options.values), end_(options.sequences) {
    if (biases_.size() != sequences_.size()) {
      throw Error(code::kInternal, "Expected one bias for each sequence of logitBias");
    }
  }

  void accept(uint32_t token) override { end_.push(token); }
  void reset() override { end_.clear(); }

  void apply(Candidates& candidates) override {
    std::unordered_map<uint32_t, double> sums;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (end_.continues(sequences_[i])) sums[sequences_[i].back()] += biases_[i];
    }
    candidates.change(sums, [](float& logit, double bias) { logit = toLogit(logit + bias); });
  }

 private:
  std::vector<std::vector<uint32_t>> sequences_;
  std::vector<double> biases_;  // of the sequences
  SequenceEnd end_;
};

class SuppressTokens final : public CopiedStage<SuppressTokens> {
 public:
  explicit SuppressTokens(const StageOptions& options) {
    for (const auto& sequence : options.sequences) {
      for (const uint32_t token : sequence) suppressed_.emplace(token, true);
    }
  }

  void apply(Candidates& candidates) override {
    candidates.change(suppressed_, [](float& logit, bool) { logit = kRemoved; });
  }

 private:
  std::unordered_map<uint32_t, bool> suppressed_;
};

// Removes the tokens that end the text, until it has a number of new tokens.
class MinTokens final : public CopiedStage<MinTokens> {
 public:
  MinTokens(const StageOptions& options, const StageContext& context)
      : count_(options.number("count")), ends_(context.endOfText.begin(), context.endOfText.end()) {
    for (const auto& sequence : options.sequences) {
      ends_.insert(ends_.end(), sequence.begin(), sequence.end());
    }
  }

  void accept(uint32_t /*token*/) override { newTokens_ += 1; }
  void endPrompt() override { newTokens_ = 0; }
  void reset() override { newTokens_ = 0; }

  void apply(Candidates& candidates) override {
    if (newTokens_ >= count_) return;
    for (const uint32_t token : ends_) candidates.remove(token);
  }

 private:
  double count_;
  std::vector<uint32_t> ends_;
  double newTokens_ = 0;
};

// The first new tokens.
class ForcedTokens final : public CopiedStage<ForcedTokens> {
 public:
  explicit ForcedTokens(const StageOptions& options) : tokens_(options.sequences.at(0)) {}

  void accept(uint32_t /*token*/) override { ++newTokens_; }
  void endPrompt() override { newTokens_ = 0; }
  void reset() override { newTokens_ = 0; }

  void apply(Candidates& candidates) override {
    if (newTokens_ < tokens_.size()) candidates.keepOnly(tokens_[newTokens_]);
  }

 private:
  std::vector<uint32_t> tokens_;
  size_t newTokens_ = 0;
};

}  // namespace

std::unique_ptr<Stage> makeBadWords(const StageOptions& options, const StageContext& context) {
  return std::make_unique<BadWords>(options, context);
}

std::unique_ptr<Stage> makeLogitBias(const StageOptions& options, const StageContext&) {
  return std::make_unique<LogitBias>(options);
}

std::unique_ptr<Stage> makeSuppressTokens(const StageOptions& options, const StageContext&) {
  return std::make_unique<SuppressTokens>(options);
}

std::unique_ptr<Stage> makeMinTokens(const StageOptions& options, const StageContext& context) {
  return std::make_unique<MinTokens>(options, context);
}

std::unique_ptr<Stage> makeForcedTokens(const StageOptions& options, const StageContext&) {
  return std::make_unique<ForcedTokens>(options);
}

}  // namespace gpt2
