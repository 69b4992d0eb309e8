#pragma once

#include <napi.h>

namespace gpt2::binding {

// inspectGguf(path) → Promise<GgufDescription>, see lib/addon.ts
Napi::Value inspectGguf(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
