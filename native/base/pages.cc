#include "base/pages.h"

#include <new>
#include <utility>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace gpt2 {

Pages::Pages(size_t size) : size_(size) {
  if (size == 0) return;
#ifdef _WIN32
  void* memory = VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (memory == nullptr) throw std::bad_alloc();
#else
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
#endif
  data_ = static_cast<uint8_t*>(memory);
}

Pages::~Pages() {
  if (data_ == nullptr) return;
#ifdef _WIN32
  VirtualFree(data_, 0, MEM_RELEASE);
#else
  munmap(data_, size_);
#endif
}

Pages::Pages(Pages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void preferLargePages([[maybe_unused]] void* data, [[maybe_unused]] size_t size) noexcept {
#ifdef MADV_HUGEPAGE
  // Only large pages entirely within the range: the others are shared with neighbouring memory.
  constexpr size_t kLargePage = size_t{2} << 20;
  const size_t beyond = reinterpret_cast<uintptr_t>(data) % kLargePage;
  const size_t skipped = beyond == 0 ? 0 : kLargePage - beyond;
  if (size < skipped + kLargePage) return;
  const size_t length = (size - skipped) / kLargePage * kLargePage;
  madvise(static_cast<uint8_t*>(data) + skipped, length, MADV_HUGEPAGE);
#endif
}

}  // namespace gpt2
