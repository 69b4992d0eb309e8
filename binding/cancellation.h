#pragma once

#include <napi.h>

#include <memory>

#include "base/cancel_flag.h"

namespace gpt2::binding {

// The JavaScript side of the flag that stops the calls it was passed to.
class Cancellation : public Napi::ObjectWrap<Cancellation> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Cancellation(const Napi::CallbackInfo& info);

  static constexpr napi_type_tag kTag{0x90a8be0f1a1f86ec, 0x18c99468ff75e3eb};

  const std::shared_ptr<CancelFlag>& flag() const { return flag_; }

 private:
  void cancel(const Napi::CallbackInfo&) { *flag_ = true; }

  std::shared_ptr<CancelFlag> flag_;
};

}  // namespace gpt2::binding
