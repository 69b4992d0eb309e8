#include "base/processor.h"

#include <ggml-cpu.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "check.h"

// The tests are built on the machine that runs them.
TEST(nothingIsMissingHere) { CHECK_EQUAL(gpt2::missingInstructionSets(), ""); }

#if defined(__linux__) && defined(__x86_64__)

namespace {

using InstructionSets = std::vector<std::pair<const char*, bool>>;

// Returns the names of the sets that ggml was compiled for, in the order of the list.
std::string compiledOf(const InstructionSets& sets) {
  std::string names;
  for (const auto& [name, isCompiled] : sets) {
    if (isCompiled) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

// Returns the output of this program on an emulated processor.
std::string outputOn(const std::string& processor) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").u8string();
  const std::string command =
      "GPT2_IS_EMULATED=1 qemu-x86_64 -cpu " + processor + " '" + self + "' 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  CHECK(pipe != nullptr);
  std::string output;
  char buffer[4096];
  while (const size_t length = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, length);
  pclose(pipe);
  return output;
}

void checkMissingOn(const std::string& processor, const InstructionSets& sets) {
#ifdef GPT2_HAS_SANITIZER
  SKIP("a sanitizer does not work in an emulator");
#endif
  if (std::getenv("GPT2_IS_EMULATED") != nullptr) return;  // the program within
  if (std::system("qemu-x86_64 --version >/dev/null 2>&1") != 0) SKIP("needs qemu-x86_64");
  const std::string output = outputOn(processor);
  const std::string missing = compiledOf(sets);
  const std::string line = missing.empty()
                               ? "ok    nothingIsMissingHere\n"
                               : "missingInstructionSets() == \"\": " + missing + " and \n";
  if (output.find(line) == std::string::npos) {
    gpt2::test::fail(__FILE__, __LINE__, "expected " + line + "but received " + output);
  }
}

}  // namespace

TEST(allButSsse3IsMissingOnNehalem) {
  checkMissingOn("Nehalem", {{"AVX", ggml_cpu_has_avx() != 0},
                             {"AVX2", ggml_cpu_has_avx2() != 0},
                             {"F16C", ggml_cpu_has_f16c() != 0},
                             {"AVX-VNNI", ggml_cpu_has_avx_vnni() != 0},
                             {"FMA", ggml_cpu_has_fma() != 0},
                             {"BMI2", ggml_cpu_has_bmi2() != 0},
                             {"AVX-512", ggml_cpu_has_avx512() != 0},
                             {"AVX512-VBMI", ggml_cpu_has_avx512_vbmi() != 0},
                             {"AVX512-VNNI", ggml_cpu_has_avx512_vnni() != 0},
                             {"AVX512-BF16", ggml_cpu_has_avx512_bf16() != 0}});
}

TEST(newerThanAvx2IsMissingOnHaswell) {
  checkMissingOn("Haswell", {{"AVX-VNNI", ggml_cpu_has_avx_vnni() != 0},
                             {"AVX-512", ggml_cpu_has_avx512() != 0},
                             {"AVX512-VBMI", ggml_cpu_has_avx512_vbmi() != 0},
                             {"AVX512-VNNI", ggml_cpu_has_avx512_vnni() != 0},
                             {"AVX512-BF16", ggml_cpu_has_avx512_bf16() != 0}});
}

#else

TEST(allButSsse3IsMissingOnNehalem) { SKIP("needs Linux on x86-64"); }
TEST(newerThanAvx2IsMissingOnHaswell) { SKIP("needs Linux on x86-64"); }

#endif
