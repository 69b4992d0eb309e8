#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "external_bytes.h"
#include "gguf/vocabulary.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"

namespace gpt2::binding {

class SessionObject;

// A model and the worker thread it computes on. Belongs to the JavaScript thread.
struct RunningModel {
  explicit RunningModel(Napi::Env environment) : env(environment) {}
  ~RunningModel();
  RunningModel(const RunningModel&) = delete;
  RunningModel& operator=(const RunningModel&) = delete;

  // Only while the worker is not closed.
  Model& model() const { return scheduler->model(); }

  Napi::Env env;
  std::shared_ptr<WorkerThread> worker;
  // Owned by the worker, which destroys it and its model after the last job. Jobs refer to it.
  Scheduler* scheduler = nullptr;
  // Summarised on the worker, since reading the vocabulary pages in the file.
  std::optional<VocabularySummary> vocabulary;
  std::vector<TokenizerSetting> tokenizerSettings;
  std::unordered_set<SessionObject*> sessions;
  Napi::FunctionReference logger;
  ExternalBytes bytes;
};

// The model behind an object of JavaScript. Throws DISPOSED with this message if it is null or its
// worker was stopped, which destroys the native model.
RunningModel& requireRunning(Napi::Env env, const std::shared_ptr<RunningModel>& running,
                             const char* message);

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // openModel(path, options, logger, cancellation) → Promise<ModelObject>
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit ModelObject(const Napi::CallbackInfo& info);

 private:
  // Throws DISPOSED after dispose().
  RunningModel& running(Napi::Env env) const;
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value createSession(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<RunningModel> running_;  // null once disposed
};

}  // namespace gpt2::binding
