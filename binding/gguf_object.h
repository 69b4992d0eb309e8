#pragma once

#include <napi.h>

#include <string>

#include "gguf_file.h"

namespace gpt2::binding {

// ggml's name of a type, in lower case throughout.
std::string typeName(ggml_type type);

// inspectGguf(path) → Promise<{ version, metadata: [key, value][], tensors }>
Napi::Value inspectGguf(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
