#include "model_object.h"

#include <utility>
#include <variant>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "base/tensor_type.h"
#include "gguf/vocabulary.h"
#include "session_object.h"
#include "tagged_object.h"

namespace gpt2::binding {

namespace {

// The argument of the constructor: what a model object wraps.
struct ModelInit {
  std::shared_ptr<RunningModel> running;
  static constexpr napi_type_tag kTag{0xc866a170de2c23a0, 0x1cd865bb4e88fde0};
};

ModelOptions toModelOptions(const Napi::Object& object) {
  ModelOptions options;
  options.device = toString(object.Get("device"));
  options.threads = static_cast<int>(toInteger(object.Get("threads"), ThreadPool::kMaxThreads));
  options.contextLength = toInteger(object.Get("contextLength"));
  if (const Napi::Value bytes = object.Get("cacheBytes"); !bytes.IsUndefined()) {
    options.cacheBytes = static_cast<size_t>(toInteger(bytes));
  }
  options.machineBytes = static_cast<size_t>(toInteger(object.Get("machineBytes")));
  options.sharesPrefixes = toBoolean(object.Get("prefixCache"));
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

// By column: an object for each token would take several times as long to make.
Napi::Value toJavaScript(Napi::Env env, const std::vector<AddedToken>& added) {
  Napi::Float64Array ids = Napi::Float64Array::New(env, added.size());
  Napi::Int32Array kinds = Napi::Int32Array::New(env, added.size());
  Napi::Array texts = Napi::Array::New(env, added.size());
  for (size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    ids[i] = static_cast<double>(token.id);
    kinds[i] = token.kind;
    // Invalid UTF-8 becomes U+FFFD.
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

// As a list of keys and values.
Napi::Value toJavaScript(Napi::Env env, const std::vector<TokenizerSetting>& settings) {
  Napi::Array list = Napi::Array::New(env, settings.size());
  for (size_t i = 0; i < settings.size(); ++i) {
    const auto& [key, value] = settings[i];
    Napi::Array entry = Napi::Array::New(env, 2);
    entry.Set(0U, key);
    std::visit([&](const auto& scalar) { entry.Set(1U, scalar); }, value);
    list.Set(static_cast<uint32_t>(i), entry);
  }
  return list;
}

// A logger that passes lines to a JavaScript function while the model exists.
Logger toLogger(AsyncCalls& calls, const Napi::Value& function,
                const std::shared_ptr<RunningModel>& running) {
  if (function.IsUndefined()) return {};
  // The Model in lib/ holds the function. A strong reference here would keep alive all that the
  // function closes over, usually the model too.
  running->logger = Napi::Weak(toFunction(function));
  return [&calls, weak = std::weak_ptr<RunningModel>(running)](LogLevel level,
                                                               const std::string& line) {
    calls.post([weak, level, line](Napi::Env env) {
      const auto model = weak.lock();
      const Napi::Function logger = model ? model->logger.Value() : Napi::Function();
      if (logger.IsEmpty()) return;
      logger.Call({Napi::String::New(env, line), Napi::String::New(env, nameOf(level))});
    });
  };
}

}  // namespace

RunningModel::~RunningModel() {
  bytes.report(env, 0);
  if (worker) worker->stop();
}

RunningModel& requireRunning(Napi::Env env, const std::shared_ptr<RunningModel>& running,
                             const char* message) {
  if (!running || running->worker->isClosed()) {
    throw toJavaScript(env, Error(code::kDisposed, message));
  }
  return *running;
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
  const ModelOptions options = toModelOptions(toObject(info[1]));
  const std::shared_ptr<CancelFlag> cancelled = toCancelFlag(info[3]);
  AsyncCalls& calls = AddonData::of(env).calls;
  auto running = std::make_shared<RunningModel>(env);
  try {
    running->worker = calls.workers().start(toLogger(calls, info[2], running));
  } catch (const Error& error) {
    throw toJavaScript(env, error);
  }
  auto call = std::make_unique<AsyncCall>(env);
  call->owned = running;
  if (info[2].IsFunction()) call->keep(info[2].As<Napi::Object>());
  return calls.run(
      *running->worker, std::move(call), cancelled,
      [path, options, &worker = *running->worker](AsyncCall&,
                                                  const CancelFlag& flag) -> MakeResult {
        auto model = std::make_shared<Model>(path, options, &flag);
        const Weights& weights = model->weights();
        const GgufFile& file = weights.files().first();
        auto vocabulary =
            summarizeVocabulary(file, static_cast<uint64_t>(weights.hyperparameters().vocabSize));
        auto scheduler = std::make_shared<Scheduler>(std::move(model), worker);
        MakeResult makeResult = [scheduler = scheduler.get(), vocabulary = std::move(vocabulary),
                                 settings = tokenizerSettings(file)](
                                    Napi::Env result, AsyncCall& opened) mutable -> Napi::Value {
          ModelInit init{std::static_pointer_cast<RunningModel>(opened.owned)};
          init.running->scheduler = scheduler;
          init.running->vocabulary = std::move(vocabulary);
          init.running->tokenizerSettings = std::move(settings);
          return AddonData::of(result).modelConstructor.New({toExternal(result, init)});
        };
        worker.keep(std::move(scheduler));
        return makeResult;
      });
}

ModelObject::ModelObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info), running_(fromExternal<ModelInit>(info).running) {
  RunningModel& opened = running(info.Env());
  opened.bytes.report(info.Env(), opened.model().anonymousBytes());
}

RunningModel& ModelObject::running(Napi::Env env) const {
  return requireRunning(env, running_, "The model was disposed.");
}

Napi::Value ModelObject::describe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const RunningModel& running = this->running(env);
  const Model& model = running.model();
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
  if (running.vocabulary) object.Set("vocabulary", toJavaScript(env, *running.vocabulary));
  object.Set("tokenizerSettings", toJavaScript(env, running.tokenizerSettings));
  return object;
}

Napi::Value ModelObject::createSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  running(env);
  SessionInit init{running_, nullptr};
  return AddonData::of(env).sessionConstructor.New({toExternal(env, init)});
}

// Stops the work under way, and resolves when the model's memory is free. A second call resolves
// immediately.
Napi::Value ModelObject::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto call = std::make_unique<AsyncCall>(env);
  if (!running_) {
    call->promise.Resolve(env.Undefined());
    return call->promise.Promise();
  }
  const std::shared_ptr<RunningModel> running = running_;
  call->owned = running;
  return AddonData::of(env).calls.stop(*running->worker, std::move(call), [&] {
    while (!running->sessions.empty()) (*running->sessions.begin())->release();
    running_.reset();
  });
}

}  // namespace gpt2::binding
