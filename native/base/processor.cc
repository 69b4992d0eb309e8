#include "base/processor.h"

#include <ggml-cpu.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <cpuid.h>
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

std::string missingInstructionSets() {
  __builtin_cpu_init();
  const struct {
    const char* name;
    bool needed;
    bool available;
  } sets[] = {
      {"SSSE3", ggml_cpu_has_ssse3() != 0, __builtin_cpu_supports("ssse3") != 0},
      {"AVX", ggml_cpu_has_avx() != 0, __builtin_cpu_supports("avx") != 0},
      {"AVX2", ggml_cpu_has_avx2() != 0, __builtin_cpu_supports("avx2") != 0},
      {"F16C", ggml_cpu_has_f16c() != 0, hasF16c()},
      {"AVX-VNNI", ggml_cpu_has_avx_vnni() != 0, hasAvxVnni()},
      {"FMA", ggml_cpu_has_fma() != 0, __builtin_cpu_supports("fma") != 0},
      {"BMI2", ggml_cpu_has_bmi2() != 0, __builtin_cpu_supports("bmi2") != 0},
      {"AVX-512", ggml_cpu_has_avx512() != 0, __builtin_cpu_supports("avx512f") != 0},
      {"AVX512-VBMI", ggml_cpu_has_avx512_vbmi() != 0, __builtin_cpu_supports("avx512vbmi") != 0},
      {"AVX512-VNNI", ggml_cpu_has_avx512_vnni() != 0, __builtin_cpu_supports("avx512vnni") != 0},
      {"AVX512-BF16", ggml_cpu_has_avx512_bf16() != 0, __builtin_cpu_supports("avx512bf16") != 0},
  };
  std::string missing;
  for (const auto& set : sets) {
    if (set.needed && !set.available)
      missing += (missing.empty() ? "" : ", ") + std::string(set.name);
  }
  return missing;
}

#else

std::string missingInstructionSets() { return {}; }

#endif

}  // namespace gpt2
