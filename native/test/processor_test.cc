#include "base/processor.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "check.h"

TEST(nothingIsMissingHere) { CHECK_EQUAL(gpt2::missingInstructionSets(), ""); }

#if defined(__linux__) && defined(__x86_64__)

namespace {

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

// expected: what the program's first test reports as missing.
void checkMissingOn(const std::string& processor, const std::string& expected) {
#ifdef GPT2_HAS_SANITIZER
  SKIP("a sanitizer does not work in an emulator");
#endif
  if (std::getenv("GPT2_IS_EMULATED") != nullptr) return;  // the program within
  if (std::system("qemu-x86_64 --version >/dev/null 2>&1") != 0) SKIP("needs qemu-x86_64");
  const std::string output = outputOn(processor);
  const std::string line = expected.empty()
                               ? "ok    nothingIsMissingHere\n"
                               : "missingInstructionSets() == \"\": " + expected + " and \n";
  if (output.find(line) == std::string::npos) {
    gpt2::test::fail(__FILE__, __LINE__, "expected " + line + "but received " + output);
  }
}

}  // namespace

TEST(sse42IsMissingOnTheCore2Duo) { checkMissingOn("core2duo", "SSE4.2"); }

TEST(nothingIsMissingOnNehalem) { checkMissingOn("Nehalem", ""); }

#else

TEST(sse42IsMissingOnTheCore2Duo) { SKIP("needs Linux on x86-64"); }
TEST(nothingIsMissingOnNehalem) { SKIP("needs Linux on x86-64"); }

#endif
