#pragma once

#include <napi.h>

namespace gpt2::binding {

// inspectGguf(path) → Promise<GgufDescription>, see lib/native/types.ts
Napi::Value inspectGguf(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
