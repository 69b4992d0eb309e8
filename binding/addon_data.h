#pragma once

#include <napi.h>

#include "async_calls.h"

namespace gpt2::binding {

// The state of the addon in one JavaScript environment.
struct AddonData {
  explicit AddonData(Napi::Env env) : calls(env) {}

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

  Napi::FunctionReference modelConstructor;
  Napi::FunctionReference sessionConstructor;
  Napi::FunctionReference fileConstructor;
  AsyncCalls calls;
};

}  // namespace gpt2::binding
