#pragma once

#include <string>

namespace gpt2 {

// The instruction sets that ggml was compiled for and this processor lacks, as a list for people;
// empty where all is well or where nothing can be told. Runs on any processor.
std::string missingInstructionSets();

}  // namespace gpt2
