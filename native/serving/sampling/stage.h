#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "serving/sampling/candidates.h"
#include "text/token_trie.h"

namespace gpt2 {

// The settings of a stage. The table of options in lib/ says which stage has which.
struct StageOptions {
  std::string name;
  std::map<std::string, double, std::less<>> numbers;
  std::vector<std::vector<uint32_t>> sequences;  // of tokens
  std::vector<double> values;                    // one for each of the sequences
  std::vector<std::string> texts;                // UTF-8

  // Both throw INTERNAL if the number is missing.
  double number(std::string_view key) const;
  // A whole number, or the nearest that is a size.
  size_t count(std::string_view key) const;
};

// What stages know beside their settings.
struct StageContext {
  uint64_t seed = 0;
  std::set<uint32_t> endOfText;           // the model's tokens that end a text
  std::shared_ptr<const TokenTrie> trie;  // null if no stage has texts
};

// A step of sampling, which changes the logits of the candidates or removes some of them. The
// chains of several texts have stages of their own.
class Stage {
 public:
  Stage() = default;
  virtual ~Stage() = default;
  Stage& operator=(const Stage&) = delete;

  // Changes the candidates for the next token. Leaves at least one if it receives one, except for
  // the stages that ban tokens.
  virtual void apply(Candidates& candidates) = 0;
  // Receives each token of the text in turn: those of the prompt, and then every token drawn.
  virtual void accept(uint32_t /*token*/) {}
  // Receives the end of the prompt. Tokens that follow are new.
  virtual void endPrompt() {}
  // Forgets the text.
  virtual void reset() {}
  virtual std::unique_ptr<Stage> clone() const = 0;

 protected:
  Stage(const Stage&) = default;
};

// A stage whose clone is a copy.
template <typename Derived>
class CopiedStage : public Stage {
 public:
  std::unique_ptr<Stage> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }
};

// Makes a stage by its name, which is that of its option. Throws INTERNAL for an unknown one.
std::unique_ptr<Stage> makeStage(const StageOptions& options, const StageContext& context);

}  // namespace gpt2
