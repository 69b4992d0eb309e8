#pragma once

#include <napi.h>

#include <memory>

#include "model/session.h"
#include "model_object.h"

namespace gpt2::binding {

// The argument of the constructor: the model and, for a fork, the session to copy.
struct SessionInit {
  std::shared_ptr<RunningModel> running;
  std::shared_ptr<Session> original;
  static constexpr napi_type_tag kTag{0x0b97d88caf8914b1, 0x6838a079ade8c7f9};
};

class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit SessionObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;
  // Drops the native session. Work under way keeps it until it ends.
  void release();

 private:
  // evaluate(keep, tokens, positions, out, cancellation) → Promise<undefined>
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  // generate(keep, tokens, options, onToken, onStep, cancellation) → Promise<Generation>
  Napi::Value generate(const Napi::CallbackInfo& info);
  // score(keep, tokens, first, targets, top, others, cancellation) → Promise<Scores>
  Napi::Value score(const Napi::CallbackInfo& info);
  // embed(tokens, layer, pooling, cancellation) → Promise<Float32Array>
  Napi::Value embed(const Napi::CallbackInfo& info);
  // resume(stops, logits) answers onStep
  void resume(const Napi::CallbackInfo& info);
  // wake() ends a call that was cancelled and may wait for an answer
  void wake(const Napi::CallbackInfo& info);
  // save(keep, tokens, path, cancellation) → Promise<undefined>
  Napi::Value save(const Napi::CallbackInfo& info);
  // restore(path, cancellation) → Promise<Uint32Array>
  Napi::Value restore(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  // Reports the memory of the model and all its sessions, as read on the worker thread.
  void report(Napi::BasicEnv env, size_t bytes);
  // The model to compute with. Throws DISPOSED after release().
  RunningModel& running(Napi::Env env) const;

  std::shared_ptr<RunningModel> running_;
  std::shared_ptr<Session> session_;
};

}  // namespace gpt2::binding
