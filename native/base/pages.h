#pragma once

#include <cstddef>
#include <cstdint>

namespace gpt2 {

// Zeroed memory straight from the system. The destructor returns it to the system. Memory from
// malloc may stay with the process: glibc keeps up to 32 MB in each arena, and a process with many
// threads has many arenas.
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

// Requests large pages for memory that will be written mostly or entirely. The system zeroes and
// maps a large page in one step, and pages of 4 KB one by one. It may ignore the request.
void preferLargePages(void* data, size_t size) noexcept;

}  // namespace gpt2
