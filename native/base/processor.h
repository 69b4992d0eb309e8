#pragma once

#include <string>

namespace gpt2 {

// Returns the names of the instruction sets that ggml was compiled for and this processor lacks,
// separated by commas; empty if none is missing or the processor cannot be queried. Runs on any
// processor.
std::string missingInstructionSets();

}  // namespace gpt2
