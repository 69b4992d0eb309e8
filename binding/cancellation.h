#pragma once

#include <napi.h>

#include <memory>

#include "base/cancel_flag.h"

namespace gpt2::binding {

// JavaScript's hold on the flag of the calls it was given to.
class Cancellation : public Napi::ObjectWrap<Cancellation> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Cancellation(const Napi::CallbackInfo& info)
      : ObjectWrap(info), flag_(std::make_shared<CancelFlag>(false)) {}

  const std::shared_ptr<CancelFlag>& flag() const { return flag_; }

 private:
  void cancel(const Napi::CallbackInfo&) { *flag_ = true; }

  std::shared_ptr<CancelFlag> flag_;
};

}  // namespace gpt2::binding
