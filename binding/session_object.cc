#include "session_object.h"

#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "serving/evaluate_request.h"
#include "serving/generate_request.h"
#include "tagged_object.h"

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
  const auto& init = fromExternal<SessionInit>(info);
  running_ = init.running;
  session_ = running_->model().createSession();
  if (init.original) {
    try {
      running_->worker->post(std::make_shared<CancelFlag>(false),
                             [from = init.original, to = session_](const CancelFlag& flag) {
                               if (!flag) to->copyFrom(*from);
                             });
    } catch (const Error& error) {
      throw toJavaScript(info.Env(), error);
    }
  }
  running_->sessions.insert(this);
}

void SessionObject::Finalize(Napi::BasicEnv /*env*/) { release(); }

void SessionObject::release() {
  if (!running_) return;
  running_->worker->release(std::move(session_));
  running_->sessions.erase(this);
  running_.reset();
}

RunningModel& SessionObject::running(Napi::Env env) const {
  return requireRunning(env, running_, "The session was disposed.");
}

void SessionObject::report(Napi::BasicEnv env, size_t bytes) {
  if (running_) running_->bytes.report(env, bytes);
}

Napi::Value SessionObject::evaluate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Scheduler& scheduler = *running(env).scheduler;
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const std::vector<uint32_t> given = toTokens(info[2]);
  std::vector<int64_t> positions(given.begin(), given.end());
  const auto vocabSize =
      static_cast<size_t>(scheduler.model().weights().hyperparameters().vocabSize);
  auto out = toFloats(info[3], positions.size() * vocabSize);

  auto call = std::make_unique<AsyncCall>(env);
  call->keep(Value());
  call->keep(out);
  return AddonData::of(env).calls.run(
      scheduler, std::move(call), toCancelFlag(info[4]),
      [&](AsyncCall&) {
        return std::make_shared<EvaluateRequest>(scheduler.model(), session_, keep,
                                                 std::move(tokens), positions, out.Data());
      },
      [this, &scheduler](Request& /*request*/) -> MakeResult {
        const size_t bytes = scheduler.model().anonymousBytes();
        return [this, bytes](Napi::Env result, AsyncCall&) -> Napi::Value {
          report(result, bytes);
          return result.Undefined();
        };
      });
}

Napi::Value SessionObject::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const GenerateOptions options = toGenerateOptions(toObject(info[2]));
  Scheduler& scheduler = *running(env).scheduler;  // last: a getter of the options may dispose it

  auto call = std::make_unique<AsyncCall>(env);
  call->keep(Value());
  call->listener = Napi::Persistent(toFunction(info[3]));
  AsyncCalls& calls = AddonData::of(env).calls;
  return calls.run(
      scheduler, std::move(call), toCancelFlag(info[4]),
      [&](AsyncCall& started) {
        return std::make_shared<GenerateRequest>(
            scheduler.model(), session_, keep, std::move(tokens), options,
            [&calls, &started](uint32_t token) { calls.notify(started, token); });
      },
      [this, &scheduler](Request& request) -> MakeResult {
        const size_t bytes = scheduler.model().anonymousBytes();
        const Generation& generation = static_cast<GenerateRequest&>(request).generation();
        return [this, generation, bytes](Napi::Env result, AsyncCall&) -> Napi::Value {
          report(result, bytes);
          return toJavaScript(result, generation);
        };
      });
}

Napi::Value SessionObject::fork(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  running(env);
  SessionInit init{running_, session_};
  return AddonData::of(env).sessionConstructor.New({toExternal(env, init)});
}

}  // namespace gpt2::binding
