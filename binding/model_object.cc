#include "model_object.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "base/tensor_type.h"
#include "gguf/vocabulary.h"
#include "session_object.h"

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

const char* nameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warn";
    case LogLevel::kDebug:
      return "debug";
    default:
      return "info";
  }
}

// In columns: an object for each of many tokens would take several times as long to make.
Napi::Value toJavaScript(Napi::Env env, const std::vector<AddedToken>& added) {
  Napi::Float64Array ids = Napi::Float64Array::New(env, added.size());
  Napi::Int32Array kinds = Napi::Int32Array::New(env, added.size());
  Napi::Array texts = Napi::Array::New(env, added.size());
  for (size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    ids[i] = static_cast<double>(token.id);
    kinds[i] = token.kind;
    // Bytes that are no UTF-8 become U+FFFD.
    texts.Set(static_cast<uint32_t>(i),
              Napi::String::New(env, token.text.data(), token.text.size()));
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("ids", ids);
  object.Set("kinds", kinds);
  object.Set("texts", texts);
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const VocabularySummary& summary) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("count", static_cast<double>(summary.count));
  object.Set("fingerprint", summary.fingerprint);
  object.Set("mergeCount", static_cast<double>(summary.mergeCount));
  if (summary.added) object.Set("added", toJavaScript(env, *summary.added));
  return object;
}

// A logger that hands lines to a JavaScript function as long as the model is there.
Logger toLogger(Delivery& delivery, const Napi::Value& function,
                const std::shared_ptr<RunningModel>& running) {
  if (function.IsUndefined()) return {};
  // The Model in lib/ holds the function. A strong reference would keep for ever what the function
  // can see, which as a rule is the model.
  running->logger = Napi::Weak(function.As<Napi::Function>());
  return [&delivery, weak = std::weak_ptr<RunningModel>(running)](LogLevel level,
                                                                  const std::string& line) {
    delivery.post([weak, level, line](Napi::Env env) {
      const auto model = weak.lock();
      const Napi::Function logger = model ? model->logger.Value() : Napi::Function();
      if (logger.IsEmpty()) return;
      logger.Call({Napi::String::New(env, line), Napi::String::New(env, nameOf(level))});
    });
  };
}

}  // namespace

RunningModel::~RunningModel() {
  bytes.tell(env, 0);
  if (worker) worker->stop(farewell());
}

std::function<void()> RunningModel::farewell() {
  return [last = std::move(scheduler)]() mutable { last.reset(); };
}

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {InstanceMethod<&ModelObject::describe>("describe"),
                      InstanceMethod<&ModelObject::createSession>("createSession"),
                      InstanceMethod<&ModelObject::dispose>("dispose")});
}

Napi::Value ModelObject::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ggml_cpu_init();  // here, since it reads the environment, which only this thread may change
  const std::string path = toString(info[0]);
  const ModelOptions options = toModelOptions(info[1].As<Napi::Object>());
  Delivery& delivery = AddonData::of(env).delivery;
  auto running = std::make_shared<RunningModel>(env);
  running->worker = delivery.startWorker(toLogger(delivery, info[2], running));
  auto task = std::make_unique<Task>(env);
  task->owned = running;
  if (info[2].IsFunction()) task->keep(info[2].As<Napi::Object>());
  return delivery.run(
      *running->worker, std::move(task), toCancelFlag(info[3]),
      [path, options](uint64_t, const CancelFlag& cancelled) -> Delivery::Result {
        auto model = std::make_shared<Model>(path, options, &cancelled);
        const Weights& weights = model->weights();
        auto vocabulary = summarizeVocabulary(
            weights.files().first(), static_cast<uint64_t>(weights.hyperparameters().vocabSize));
        return [model, vocabulary](Napi::Env result, Task& finished) -> Napi::Value {
          auto opened = std::static_pointer_cast<RunningModel>(finished.owned);
          opened->scheduler = std::make_shared<Scheduler>(model, *opened->worker);
          opened->vocabulary = vocabulary;
          return AddonData::of(result).modelConstructor.New(
              {Napi::External<std::shared_ptr<RunningModel>>::New(result, &opened)});
        };
      });
}

ModelObject::ModelObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info),
      running_(*info[0].As<Napi::External<std::shared_ptr<RunningModel>>>().Data()) {
  running_->bytes.tell(info.Env(), running_->model().anonymousBytes());
}

Napi::Value ModelObject::describe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Model& model = running_->model();
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
  if (running_->vocabulary) object.Set("vocabulary", toJavaScript(env, *running_->vocabulary));
  return object;
}

Napi::Value ModelObject::createSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  SessionSeed seed{running_, nullptr, 0};
  return AddonData::of(env).sessionConstructor.New({Napi::External<SessionSeed>::New(env, &seed)});
}

// Stops the work under way and frees the model when it has ended.
Napi::Value ModelObject::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  while (!running_->sessions.empty()) (*running_->sessions.begin())->release(env);
  auto task = std::make_unique<Task>(env);
  task->keep(Value());
  return AddonData::of(env).delivery.stop(*running_->worker, std::move(task), running_->farewell(),
                                          [this](Napi::Env result, Task&) -> Napi::Value {
                                            running_.reset();
                                            return result.Undefined();
                                          });
}

}  // namespace gpt2::binding
