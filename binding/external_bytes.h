#pragma once

#include <napi.h>

#include <cstdint>
#include <utility>

namespace gpt2::binding {

// What the garbage collector, which knows only what it is told, believes of the native memory that
// an object holds.
class ExternalBytes {
 public:
  void tell(Napi::BasicEnv env, size_t bytes) {
    const auto now = static_cast<int64_t>(bytes);
    Napi::MemoryManagement::AdjustExternalMemory(env, now - std::exchange(told_, now));
  }

  size_t told() const { return static_cast<size_t>(told_); }

 private:
  int64_t told_ = 0;
};

}  // namespace gpt2::binding
