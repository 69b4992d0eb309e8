#include "serving/sampling/stage.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "serving/sampling/stages.h"

namespace gpt2 {

namespace {

struct StageType {
  std::string_view name;
  std::unique_ptr<Stage> (*make)(const StageOptions&, const StageContext&);
};

constexpr StageType kStages[] = {
    {"repetitionPenalty", makeRepetitionPenalty},
    {"presencePenalty", makePresencePenalty},
    {"frequencyPenalty", makeFrequencyPenalty},
    {"dry", makeDry},
    {"noRepeatNgramSize", makeNoRepeatNgram},
    {"badWords", makeBadWords},
    {"logitBias", makeLogitBias},
    {"suppressTokens", makeSuppressTokens},
    {"minTokens", makeMinTokens},
    {"forcedTokens", makeForcedTokens},
    {"temperature", makeTemperature},
    {"topNSigma", makeTopNSigma},
    {"topK", makeTopK},
    {"typicalP", makeTypicalP},
    {"topP", makeTopP},
    {"minP", makeMinP},
    {"xtc", makeXtc},
    {"mirostat", makeMirostat},
};

}  // namespace

double StageOptions::number(std::string_view key) const {
  const auto found = numbers.find(key);
  if (found != numbers.end()) return found->second;
  throw Error(code::kInternal, "the stage " + name + " has no " + std::string(key));
}

size_t StageOptions::count(std::string_view key) const {
  constexpr double kMax = std::numeric_limits<uint32_t>::max();
  const double value = number(key);
  return value > 0 ? static_cast<size_t>(std::min(value, kMax)) : 0;  // 0 for NaN too
}

std::unique_ptr<Stage> makeStage(const StageOptions& options, const StageContext& context) {
  for (const StageType& type : kStages) {
    if (type.name == options.name) return type.make(options, context);
  }
  throw Error(code::kInternal, "there is no stage named " + options.name);
}

}  // namespace gpt2
