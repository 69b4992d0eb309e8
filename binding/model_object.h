#pragma once

#include <napi.h>

#include <memory>
#include <unordered_set>

#include "engine.h"
#include "model.h"

namespace gpt2::binding {

class SessionObject;

// A model and the thread it computes on. Jobs refer to it by a plain pointer, since the engine
// waits for them before the model goes.
struct RunningModel {
  ~RunningModel() { engine->join(); }

  std::unique_ptr<Model> model;  // null once disposed
  std::shared_ptr<Engine> engine = std::make_shared<Engine>();
  std::unordered_set<SessionObject*> sessions;  // on the JavaScript thread only
};

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // openModel(path, options, cancellation) → Promise<ModelObject>
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit ModelObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value createSession(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release(Napi::BasicEnv env);

  std::shared_ptr<RunningModel> running_;
  int64_t reportedBytes_ = 0;
};

}  // namespace gpt2::binding
