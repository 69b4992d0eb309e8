#pragma once

#include <string>
#include <string_view>

namespace gpt2 {

// Whether this processor has an instruction set. Runs on any processor. Names: "SSE4.2", "AVX",
// "AVX2", "F16C", "FMA", "AVX-VNNI", "AVX-512", "AVX512-BW", "AVX512-DQ", "AVX512-VL",
// "AVX512-VNNI", and "dotprod" and "i8mm" on arm64.
bool hasInstructionSet(std::string_view name) noexcept;

// The instruction set that every part of this binary needs, if this processor lacks it; else empty.
std::string missingInstructionSets();

}  // namespace gpt2
