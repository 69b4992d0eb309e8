#include "cancellation.h"

namespace gpt2::binding {

Napi::Function Cancellation::define(Napi::Env env) {
  return DefineClass(env, "Cancellation", {InstanceMethod<&Cancellation::cancel>("cancel")});
}

Cancellation::Cancellation(const Napi::CallbackInfo& info)
    : ObjectWrap(info), flag_(std::make_shared<CancelFlag>(false)) {
  Value().TypeTag(&kTag);
}

}  // namespace gpt2::binding
