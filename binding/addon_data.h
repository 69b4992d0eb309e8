#pragma once

#include <napi.h>

#include "delivery.h"

namespace gpt2::binding {

// What the addon keeps per JavaScript environment.
struct AddonData {
  explicit AddonData(Napi::Env env) : delivery(env) {}

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

  Napi::FunctionReference modelConstructor;
  Napi::FunctionReference sessionConstructor;
  Napi::FunctionReference fileConstructor;
  Delivery delivery;
};

}  // namespace gpt2::binding
