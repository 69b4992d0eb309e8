#pragma once

#include <map>
#include <string>
#include <utility>

#include "serving/sampling/stage.h"

namespace gpt2::test {

// The options of a stage that has numbers only.
inline StageOptions stage(std::string name, std::map<std::string, double, std::less<>> numbers) {
  StageOptions options;
  options.name = std::move(name);
  options.numbers = std::move(numbers);
  return options;
}

inline StageOptions greedyStage() { return stage("temperature", {{"temperature", 0}}); }

}  // namespace gpt2::test
