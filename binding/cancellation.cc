#include "cancellation.h"

namespace gpt2::binding {

Napi::Function Cancellation::define(Napi::Env env) {
  return DefineClass(env, "Cancellation", {InstanceMethod<&Cancellation::cancel>("cancel")});
}

}  // namespace gpt2::binding
