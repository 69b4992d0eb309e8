#include "model_object.h"

#include <utility>

#include "addon_data.h"
#include "arguments.h"
#include "session_object.h"
#include "tensor_type.h"
#include "vocabulary.h"

namespace gpt2::binding {

namespace {

ModelOptions toModelOptions(const Napi::Object& object) {
  ModelOptions options;
  options.device = toString(object.Get("device"));
  options.threads = static_cast<int>(toInteger(object.Get("threads")));
  options.contextLength = toInteger(object.Get("contextLength"));
  options.map = toBoolean(object.Get("mmap"));
  if (const Napi::Value type = object.Get("cacheType"); !type.IsUndefined()) {
    options.cacheType = toTensorType(type);
  }
  return options;
}

}  // namespace

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {InstanceMethod<&ModelObject::describe>("describe"),
                      InstanceMethod<&ModelObject::createSession>("createSession"),
                      InstanceMethod<&ModelObject::dispose>("dispose")});
}

Napi::Value ModelObject::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = toString(info[0]);
  const ModelOptions options = toModelOptions(info[1].As<Napi::Object>());
  Delivery& delivery = AddonData::of(env).delivery;
  auto running = std::make_shared<RunningModel>();
  delivery.addEngine(running->engine);
  auto task = std::make_unique<Task>(env);
  task->owned = running;
  return delivery.run(
      *running->engine, std::move(task), toCancelFlag(info[2]),
      [path, options, open = running.get()](uint64_t, const CancelFlag&) -> Delivery::Result {
        open->model = std::make_unique<Model>(path, options);
        return [](Napi::Env result, Task& finished) -> Napi::Value {
          return AddonData::of(result).modelConstructor.New(
              {Napi::External<std::shared_ptr<void>>::New(result, &finished.owned)});
        };
      });
}

ModelObject::ModelObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      running_(std::static_pointer_cast<RunningModel>(
          *info[0].As<Napi::External<std::shared_ptr<void>>>().Data())) {
  reportedBytes_ = static_cast<int64_t>(running_->model->anonymousBytes());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reportedBytes_);
}

void ModelObject::Finalize(Napi::BasicEnv env) { release(env); }

void ModelObject::release(Napi::BasicEnv env) {
  Napi::MemoryManagement::AdjustExternalMemory(env, -std::exchange(reportedBytes_, 0));
  running_.reset();
}

Napi::Value ModelObject::describe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Model& model = *running_->model;
  const Weights& weights = model.weights();
  const Hyperparameters& h = weights.hyperparameters();
  Napi::Object object = Napi::Object::New(env);
  const auto setNumber = [&](const char* name, double value) { object.Set(name, value); };
  setNumber("vocabSize", static_cast<double>(h.vocabSize));
  setNumber("contextLength", static_cast<double>(model.contextLength()));
  setNumber("embeddingLength", static_cast<double>(h.embeddingLength));
  setNumber("headCount", static_cast<double>(h.headCount));
  setNumber("layerCount", static_cast<double>(h.layerCount));
  setNumber("feedForwardLength", static_cast<double>(h.feedForwardLength));
  setNumber("layerNormEpsilon", h.layerNormEpsilon);
  setNumber("parameterCount", static_cast<double>(weights.parameterCount()));
  setNumber("threads", model.device().threads());
  object.Set("fileType", typeName(weights.dominantType()));
  object.Set("cacheType", typeName(model.cacheType()));
  object.Set("headIsTied", weights.headIsTied());
  object.Set("device", model.device().name());
  if (const auto vocabulary = summarizeVocabulary(weights.file())) {
    Napi::Object summary = Napi::Object::New(env);
    summary.Set("count", static_cast<double>(vocabulary->count));
    summary.Set("fingerprint", vocabulary->fingerprint);
    object.Set("vocabulary", summary);
  }
  return object;
}

Napi::Value ModelObject::createSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  SessionSeed seed{running_, nullptr};
  return AddonData::of(env).sessionConstructor.New({Napi::External<SessionSeed>::New(env, &seed)});
}

// Stops the work under way and frees the model when it has ended.
Napi::Value ModelObject::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto task = std::make_unique<Task>(env);
  task->keep(Value());
  return AddonData::of(env).delivery.stop(*running_->engine, std::move(task),
                                          [this](Napi::Env result, Task&) -> Napi::Value {
                                            while (!running_->sessions.empty())
                                              (*running_->sessions.begin())->release(result);
                                            running_->model.reset();
                                            release(result);
                                            return result.Undefined();
                                          });
}

}  // namespace gpt2::binding
