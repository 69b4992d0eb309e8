#pragma once

#include <napi.h>

namespace gpt2::binding {

// The table of GPT-2's tensors (gguf/gpt2_tensors.h) as an array of Gpt2Module, see
// lib/native/types.ts.
Napi::Array gpt2Modules(Napi::Env env);

}  // namespace gpt2::binding
