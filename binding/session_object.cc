#include "session_object.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "serving/evaluate_request.h"
#include "serving/generate_request.h"

namespace gpt2::binding {

namespace {

GenerateOptions toGenerateOptions(const Napi::Object& object) {
  GenerateOptions options;
  options.maxTokens = toInteger(object.Get("maxTokens"));
  options.sampling.temperature = toNumber(object.Get("temperature"));
  options.sampling.topK = toInteger(object.Get("topK"));
  options.sampling.topP = toNumber(object.Get("topP"));
  options.sampling.seed = static_cast<uint64_t>(toInteger(object.Get("seed")));
  return options;
}

Napi::Object toJavaScript(Napi::Env env, const Generation& generation) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("finishReason",
             generation.finishReason == FinishReason::kEndOfText ? "endOfText" : "length");
  object.Set("promptTokens", static_cast<double>(generation.promptTokens));
  object.Set("cachedTokens", static_cast<double>(generation.cachedTokens));
  object.Set("completionTokens", static_cast<double>(generation.completionTokens));
  object.Set("promptMs", generation.promptMilliseconds);
  object.Set("firstTokenMs", generation.firstTokenMilliseconds);
  object.Set("totalMs", generation.totalMilliseconds);
  return object;
}

}  // namespace

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(env, "NativeSession",
                     {InstanceMethod<&SessionObject::evaluate>("evaluate"),
                      InstanceMethod<&SessionObject::generate>("generate"),
                      InstanceMethod<&SessionObject::fork>("fork"),
                      InstanceMethod<&SessionObject::dispose>("dispose")});
}

SessionObject::SessionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const SessionSeed& seed = *info[0].As<Napi::External<SessionSeed>>().Data();
  running_ = seed.running;
  session_ = running_->model().createSession();
  if (seed.original) {
    try {
      running_->worker->post(std::make_shared<CancelFlag>(false),
                             [from = seed.original, to = session_](const CancelFlag& flag) {
                               if (!flag) to->copyFrom(*from);
                             });
    } catch (const Error& error) {
      throw toJavaScript(info.Env(), error);
    }
    cacheBytes_.tell(info.Env(), seed.bytes);
  }
  running_->sessions.insert(this);
}

void SessionObject::Finalize(Napi::BasicEnv env) { release(env); }

void SessionObject::release(Napi::BasicEnv env) {
  if (!running_) return;
  cacheBytes_.tell(env, 0);
  running_->worker->release(std::move(session_));
  running_->sessions.erase(this);
  running_.reset();
}

RunningModel& SessionObject::running(Napi::Env env) const {
  if (!running_) throw toJavaScript(env, Error(code::kDisposed, "The session was disposed."));
  return *running_;
}

SessionObject::HeldBytes SessionObject::bytesOf(const Model& model, const Session& session) {
  return {model.anonymousBytes(), session.cache().byteSize()};
}

void SessionObject::tell(Napi::BasicEnv env, const HeldBytes& bytes) {
  if (!running_) return;
  running_->bytes.tell(env, bytes.model);
  cacheBytes_.tell(env, bytes.cache);
}

Napi::Value SessionObject::evaluate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  RunningModel& running = this->running(env);
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const std::vector<uint32_t> given = toTokens(info[2]);
  std::vector<int64_t> positions(given.begin(), given.end());
  auto out = info[3].As<Napi::Float32Array>();

  auto task = std::make_unique<Task>(env);
  task->keep(Value());
  task->keep(out);
  Scheduler& scheduler = *running.scheduler;
  return AddonData::of(env).delivery.run(
      scheduler, std::move(task), toCancelFlag(info[4]),
      [&](uint64_t) {
        return std::make_shared<EvaluateRequest>(scheduler.model(), session_, keep,
                                                 std::move(tokens), positions, out.Data());
      },
      [this, &scheduler](Request& request) -> Delivery::Result {
        return [this, bytes = bytesOf(scheduler.model(), request.session())](Napi::Env result,
                                                                             Task&) -> Napi::Value {
          tell(result, bytes);
          return result.Undefined();
        };
      });
}

Napi::Value SessionObject::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  RunningModel& running = this->running(env);
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const GenerateOptions options = toGenerateOptions(info[2].As<Napi::Object>());

  auto task = std::make_unique<Task>(env);
  task->keep(Value());
  task->listener = Napi::Persistent(info[3].As<Napi::Function>());
  Scheduler& scheduler = *running.scheduler;
  Delivery& delivery = AddonData::of(env).delivery;
  return delivery.run(
      scheduler, std::move(task), toCancelFlag(info[4]),
      [&](uint64_t number) {
        return std::make_shared<GenerateRequest>(
            scheduler.model(), session_, keep, std::move(tokens), options,
            [&delivery, number](uint32_t token) { delivery.deliver(number, token); });
      },
      [this, &scheduler](Request& request) -> Delivery::Result {
        return [this, generation = static_cast<GenerateRequest&>(request).generation(),
                bytes = bytesOf(scheduler.model(), request.session())](Napi::Env result,
                                                                       Task&) -> Napi::Value {
          tell(result, bytes);
          return toJavaScript(result, generation);
        };
      });
}

Napi::Value SessionObject::fork(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  running(env);
  SessionSeed seed{running_, session_, cacheBytes_.told()};
  return AddonData::of(env).sessionConstructor.New({Napi::External<SessionSeed>::New(env, &seed)});
}

}  // namespace gpt2::binding
