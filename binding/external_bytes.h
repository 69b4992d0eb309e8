#pragma once

#include <napi.h>

#include <cstdint>
#include <utility>

namespace gpt2::binding {

// The native memory of an object, as last reported to the garbage collector.
class ExternalBytes {
 public:
  void report(Napi::BasicEnv env, size_t bytes) {
    const auto now = static_cast<int64_t>(bytes);
    Napi::MemoryManagement::AdjustExternalMemory(env, now - std::exchange(reported_, now));
  }

 private:
  int64_t reported_ = 0;
};

}  // namespace gpt2::binding
