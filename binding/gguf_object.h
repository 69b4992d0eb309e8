#pragma once

#include <napi.h>

#include "gguf_file.h"

namespace gpt2::binding {

// inspectGguf(path) → Promise<{ version, metadata: [key, value][], tensors }>
Napi::Value inspectGguf(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
