// The engine under a memory limit that rises in steps from nothing to enough. ggml ends the process
// if one of its small allocations fails; none of them may.
//
// The limit counts the memory of malloc and operator new. glibc's thread stacks are not part of it.

#include <cstdlib>
#include <new>

#include "check.h"
#include "session_checks.h"

#if defined(__GLIBC__) && !defined(GPT2_HAS_SANITIZER)

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>

namespace {

std::atomic<size_t> used{0};
std::atomic<size_t> peak{0};
std::atomic<size_t> limit{std::numeric_limits<size_t>::max()};

bool isGranted(size_t size) {
  if (size <= limit && used <= limit - size) return true;
  errno = ENOMEM;
  return false;
}

void* counted(void* memory) {
  if (memory == nullptr) return nullptr;
  const size_t now = used += malloc_usable_size(memory);
  if (now > peak) peak = now;
  return memory;
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): glibc's names
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

void* malloc(size_t size) { return isGranted(size) ? counted(__libc_malloc(size)) : nullptr; }

void* calloc(size_t count, size_t size) {
  return isGranted(count * size) ? counted(__libc_calloc(count, size)) : nullptr;
}

void* realloc(void* memory, size_t size) {
  if (!isGranted(size)) return nullptr;
  const size_t before = memory == nullptr ? 0 : malloc_usable_size(memory);
  void* moved = __libc_realloc(memory, size);
  if (moved == nullptr) return nullptr;
  used -= before;
  return counted(moved);
}

void* memalign(size_t alignment, size_t size) {
  return isGranted(size) ? counted(__libc_memalign(alignment, size)) : nullptr;
}

void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}

void free(void* memory) {
  if (memory != nullptr) used -= malloc_usable_size(memory);
  __libc_free(memory);
}
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

namespace {

using gpt2::test::cpuOptions;
using gpt2::test::evaluate;
using gpt2::test::generate;
using gpt2::test::greedy;
using gpt2::test::kVocabulary;
using gpt2::test::LoadedModel;
using gpt2::test::ReferenceModel;

// Opens a model, evaluates, grows and forks a session, generates. Returns the last logits.
std::vector<float> useModel(const std::string& path, bool map) {
  gpt2::ModelOptions options = cpuOptions(2);
  options.map = map;
  gpt2::Model model(path, options);
  const auto session = model.createSession();
  evaluate(model, *session, 0, std::vector<uint32_t>(40, 3), {39});
  evaluate(model, *session, 40, std::vector<uint32_t>(60, 4), {59});
  const auto fork = model.createSession();
  fork->copyFrom(*session);
  generate(model, *fork, 100, {5}, greedy(3), [](gpt2::NewToken&&) {});
  return evaluate(model, *fork, 104, {6, 7}, {1});
}

}  // namespace

TEST(tooLittleMemoryIsOnlyAnError) {
  const gpt2::test::TemporaryFile file(ReferenceModel({kVocabulary, 160, 24, 3, 4}).file());
  const std::string path = file.path();
  for (const bool map : {true, false}) {
    const std::vector<float> expected = useModel(path, map);  // allocates what is never freed
    const size_t before = used;
    peak = before;
    CHECK(useModel(path, map) == expected);
    CHECK_EQUAL(used.load(), before);
    const size_t maxUsed = peak - before;

    size_t refused = 0;
    size_t granted = 0;
    constexpr size_t kSteps = 600;
    for (size_t step = 0; step <= kSteps; ++step) {
      std::vector<float> logits;
      std::string error;
      limit = before + maxUsed * step / kSteps + maxUsed * step / kSteps / 8;
      try {
        logits = useModel(path, map);
      } catch (const gpt2::Error& refusal) {
        error = refusal.code();
      } catch (const std::bad_alloc&) {
        error = gpt2::code::kOutOfMemory;  // as in the binding
      }
      limit = std::numeric_limits<size_t>::max();
      if (logits.empty()) {
        CHECK_EQUAL(error, gpt2::code::kOutOfMemory);
        ++refused;
      } else {
        CHECK(logits == expected);
        ++granted;
      }
    }
    CHECK(refused > kSteps / 2);
    CHECK(granted > 10);
  }
}

#else

TEST(tooLittleMemoryIsOnlyAnError) { SKIP("needs glibc's allocator, without a sanitizer's"); }

#endif
