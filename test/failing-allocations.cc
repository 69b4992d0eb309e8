// Preloaded into Node by out-of-memory.test.ts: operator new fails where the addon calls it. A script controls it
// through its environment: setting GPT2_FAIL_NEW to "<after> <count>" makes `count` allocations fail once `after`
// more have succeeded, and GPT2_FAILED_NEW reads how many have failed since.

#include <dlfcn.h>
#include <link.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

std::atomic<uintptr_t> begin{0};
std::atomic<uintptr_t> end{0};
std::atomic<long> after{0};
std::atomic<long> remaining{0};
std::atomic<long> failed{0};

int findAddon(dl_phdr_info* info, size_t, void*) {
  if (std::strstr(info->dlpi_name, "gpt2_native.node") == nullptr) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
    begin = info->dlpi_addr + header.p_vaddr;
    end = begin + header.p_memsz;
  }
  return 1;
}

bool fails(void* caller) {
  const auto address = reinterpret_cast<uintptr_t>(caller);
  if (remaining <= 0 || address < begin || address >= end) return false;
  if (after.fetch_sub(1) > 0) return false;
  if (remaining.fetch_sub(1) <= 0) return false;
  ++failed;
  return true;
}

void* allocate(size_t size, void* caller) {
  void* memory = fails(caller) ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return allocate(size, __builtin_return_address(0)); }
void* operator new[](size_t size) { return allocate(size, __builtin_return_address(0)); }

extern "C" int setenv(const char* name, const char* value, int overwrite) {
  using Function = int (*)(const char*, const char*, int);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "setenv"));
  if (std::strcmp(name, "GPT2_FAIL_NEW") != 0) return next(name, value, overwrite);
  long given = 0;
  long count = 0;
  std::sscanf(value, "%ld %ld", &given, &count);
  dl_iterate_phdr(findAddon, nullptr);
  remaining = 0;
  after = given;
  failed = 0;
  remaining = count;
  return 0;
}

extern "C" char* getenv(const char* name) {
  using Function = char* (*)(const char*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getenv"));
  if (std::strcmp(name, "GPT2_FAILED_NEW") != 0) return next(name);
  static char text[32];
  std::snprintf(text, sizeof text, "%ld", failed.load());
  return text;
}
