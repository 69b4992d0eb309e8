// Runs the tests of the kernels for every level that this processor has, and compares the levels
// with each other.

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "kernels/kernels.h"
#include "random_numbers.h"

namespace {

constexpr const char* kVariable = "GPT2_NATIVE_KERNELS";

void setLevel(const std::string& name) {
#ifdef _WIN32
  _putenv_s(kVariable, name.c_str());
#else
  setenv(kVariable, name.c_str(), 1);
#endif
}

std::vector<std::string> runnableLevels() {
  std::vector<std::string> names;
  for (const auto& [name, missing] : gpt2::kernelLevels()) {
    if (missing.empty()) names.push_back(name);
  }
  return names;
}

}  // namespace

TEST(theBestLevelIsChosen) {
  if (std::getenv(kVariable) != nullptr) return;
  CHECK_EQUAL(std::string(gpt2::kernels().level), runnableLevels().front());
}

TEST(everyLevelPassesTheTestsOfTheKernels) {
  for (const std::string& level : runnableLevels()) {
    setLevel(level);
    for (const char* command : {KERNEL_TESTS}) {
      if (std::system(command) != 0) {
        gpt2::test::fail(__FILE__, __LINE__, std::string(command) + " fails at level " + level);
      }
    }
  }
}

TEST(aLevelThatCannotRunIsRejectedByName) {
  setLevel(runnableLevels().back());
  gpt2::checkKernelChoice();
  for (const char* name : {"", "avx", "AVX2", "sparc"}) {
    setLevel(name);
    try {
      gpt2::checkKernelChoice();
      gpt2::test::fail(__FILE__, __LINE__, "expected an error");
    } catch (const gpt2::Error& error) {
      CHECK_EQUAL(std::string(error.code()), gpt2::code::kInvalidArgument);
      CHECK(std::strstr(error.what(), kVariable) != nullptr);
    }
  }
}
