#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <unordered_set>

#include "external_bytes.h"
#include "gguf/vocabulary.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"

namespace gpt2::binding {

class SessionObject;

// A model and the thread it computes on. Lives on the JavaScript thread. Jobs refer to the
// scheduler and its model by a plain pointer: letting go of it is the worker's last job.
struct RunningModel {
  explicit RunningModel(Napi::Env environment) : env(environment) {}
  ~RunningModel();
  // What the worker's last job has to do.
  std::function<void()> farewell();

  Model& model() const { return scheduler->model(); }

  Napi::Env env;
  std::shared_ptr<Scheduler> scheduler;         // null once disposed
  std::optional<VocabularySummary> vocabulary;  // read by the worker, since it pages the file in
  std::shared_ptr<WorkerThread> worker;
  std::unordered_set<SessionObject*> sessions;
  Napi::FunctionReference logger;
  ExternalBytes bytes;
};

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // openModel(path, options, cancellation) → Promise<ModelObject>
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit ModelObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value createSession(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<RunningModel> running_;
};

}  // namespace gpt2::binding
