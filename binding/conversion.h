#pragma once

#include <napi.h>

namespace gpt2::binding {

// writeGguf(path, header, tensors, threads, onProgress, cancellation) → Promise<undefined>
Napi::Value writeGguf(const Napi::CallbackInfo& info);

}  // namespace gpt2::binding
