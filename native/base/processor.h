#pragma once

#include <string>

namespace gpt2 {

// Returns the instruction sets that ggml was compiled for and this processor lacks, as a text for
// messages. The text is empty if none is missing or if the processor cannot be queried. Runs on any
// processor.
std::string missingInstructionSets();

}  // namespace gpt2
