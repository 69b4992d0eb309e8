#pragma once

#include <napi.h>

namespace gpt2::binding {

// lockFile(path) → Promise<release() | undefined>; undefined while another owner holds the lock.
Napi::Value lockFile(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
