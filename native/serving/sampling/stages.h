#pragma once

#include <memory>

#include "serving/sampling/stage.h"

// One function for each stage. The documentation of the options describes what they do.
namespace gpt2 {

// penalties.cc
std::unique_ptr<Stage> makeRepetitionPenalty(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makePresencePenalty(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeFrequencyPenalty(const StageOptions&, const StageContext&);

// repetitions.cc
std::unique_ptr<Stage> makeDry(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeNoRepeatNgram(const StageOptions&, const StageContext&);

// bans.cc
std::unique_ptr<Stage> makeBadWords(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeLogitBias(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeSuppressTokens(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeMinTokens(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeForcedTokens(const StageOptions&, const StageContext&);

// truncations.cc
std::unique_ptr<Stage> makeTemperature(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeTopNSigma(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeTopK(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeTypicalP(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeTopP(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeMinP(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeXtc(const StageOptions&, const StageContext&);
std::unique_ptr<Stage> makeMirostat(const StageOptions&, const StageContext&);

}  // namespace gpt2
