#include "base/processor.h"

#include <string_view>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace gpt2 {

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

namespace {

// The registers of the instruction CPUID (Intel's manual, volume 2), or zeros for an unknown leaf.
struct Cpuid {
  unsigned a = 0, b = 0, c = 0, d = 0;

  explicit Cpuid(unsigned leaf, unsigned subleaf = 0) {
    if (__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d) == 0) a = b = c = d = 0;
  }
};

bool has(unsigned bits, unsigned bit) { return (bits >> bit & 1U) != 0; }

// Whether the operating system saves these registers (XCR0; Intel's manual, volume 1, chapter 13).
bool savesRegisters(unsigned mask) {
  constexpr unsigned kOsxsave = 27;
  if (!has(Cpuid(1).c, kOsxsave)) return false;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & mask) == mask;
}

constexpr unsigned kAvxRegisters = 0b110;  // of SSE and AVX
constexpr unsigned kAvx512Registers = 0b1110'0110;

}  // namespace

// __builtin_cpu_supports() needs a part of the compiler's library that not every compiler brings.
bool hasInstructionSet(std::string_view name) noexcept {
  const Cpuid basic(1);
  if (name == "SSE4.2") return has(basic.c, 20);
  if (!savesRegisters(kAvxRegisters)) return false;
  if (name == "AVX") return has(basic.c, 28);
  if (name == "FMA") return has(basic.c, 12);
  if (name == "F16C") return has(basic.c, 29);
  const Cpuid extended(7);
  if (name == "AVX2") return has(extended.b, 5);
  if (name == "AVX-VNNI") return has(extended.b, 5) && has(Cpuid(7, 1).a, 4);
  if (!savesRegisters(kAvx512Registers)) return false;
  if (name == "AVX-512") return has(extended.b, 16);
  if (name == "AVX512-DQ") return has(extended.b, 17);
  if (name == "AVX512-BW") return has(extended.b, 30);
  if (name == "AVX512-VL") return has(extended.b, 31);
  if (name == "AVX512-VNNI") return has(extended.c, 11);
  return false;
}

std::string missingInstructionSets() { return hasInstructionSet("SSE4.2") ? "" : "SSE4.2"; }

#elif defined(__aarch64__)

bool hasInstructionSet(std::string_view name) noexcept {
#if defined(__linux__)
  constexpr unsigned long kHwcap2I8mm = 1UL << 13U;  // HWCAP2_I8MM, which older headers lack
  if (name == "dotprod") return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  return name == "i8mm" && (getauxval(AT_HWCAP2) & kHwcap2I8mm) != 0;
#elif defined(__APPLE__)
  if (name == "dotprod") return true;  // all of Apple's processors
  int has = 0;
  size_t size = sizeof has;
  return name == "i8mm" &&
         sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has != 0;
#else
  return false;
#endif
}

std::string missingInstructionSets() { return {}; }

#else

bool hasInstructionSet(std::string_view /*name*/) noexcept { return false; }

std::string missingInstructionSets() { return {}; }

#endif

}  // namespace gpt2
