#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// Zeroed memory straight from the system, which has it back at once. What malloc is given back may
// stay with the process: up to 32 MB in each of glibc's arenas, of which a process with many
// threads has many.
class Pages {
 public:
  Pages() = default;
  // Throws std::bad_alloc.
  explicit Pages(size_t size);
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;

  uint8_t* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Asks for large pages for what will mostly be written: the system hands them out, zeroed, in one
// go each, and 4 KB ones one by one. It may not have any.
void preferLargePages(void* data, size_t size) noexcept;

}  // namespace gpt2
