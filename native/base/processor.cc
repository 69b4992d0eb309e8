#include "base/processor.h"

#include <string_view>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace gpt2 {

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

namespace {

// Instruction sets that __builtin_cpu_supports does not know. Both use AVX registers; the check for
// AVX includes the operating system's support. Bits: Intel's manual, volume 2, CPUID.
bool hasF16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1U << 29U)) != 0;
}

bool hasAvxVnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1U << 4U)) != 0;
}

}  // namespace

bool hasInstructionSet(std::string_view name) noexcept {
  __builtin_cpu_init();
  if (name == "SSE4.2") return __builtin_cpu_supports("sse4.2") != 0;
  if (name == "AVX") return __builtin_cpu_supports("avx") != 0;
  if (name == "AVX2") return __builtin_cpu_supports("avx2") != 0;
  if (name == "F16C") return hasInstructionSet("AVX") && hasF16c();
  if (name == "AVX-VNNI") return hasInstructionSet("AVX2") && hasAvxVnni();
  if (name == "FMA") return __builtin_cpu_supports("fma") != 0;
  if (name == "AVX-512") return __builtin_cpu_supports("avx512f") != 0;
  if (name == "AVX512-BW") return __builtin_cpu_supports("avx512bw") != 0;
  if (name == "AVX512-DQ") return __builtin_cpu_supports("avx512dq") != 0;
  if (name == "AVX512-VL") return __builtin_cpu_supports("avx512vl") != 0;
  if (name == "AVX512-VNNI") return __builtin_cpu_supports("avx512vnni") != 0;
  return false;
}

std::string missingInstructionSets() { return hasInstructionSet("SSE4.2") ? "" : "SSE4.2"; }

#elif defined(__aarch64__)

bool hasInstructionSet(std::string_view name) noexcept {
#if defined(__linux__)
  return name == "dotprod" && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return name == "dotprod";  // all of Apple's processors; Windows on ARM is not supported
#endif
}

std::string missingInstructionSets() { return {}; }

#else

bool hasInstructionSet(std::string_view /*name*/) noexcept { return false; }

std::string missingInstructionSets() { return {}; }

#endif

}  // namespace gpt2
