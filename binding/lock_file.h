#pragma once

#include <napi.h>

namespace gpt2::binding {

// lockFile(path) → Promise<release() | undefined>; undefined while somebody else holds the lock.
Napi::Value lockFile(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
