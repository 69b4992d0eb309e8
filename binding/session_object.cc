#include "session_object.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "model/session_file.h"
#include "serving/embed_request.h"
#include "serving/evaluate_request.h"
#include "serving/generate_request.h"
#include "serving/score_request.h"
#include "tagged_object.h"

namespace gpt2::binding {

namespace {

// Lists of unequal lengths come as one array and the lengths: a conversion of each would hold up
// the event loop.
struct Packed {
  Napi::Value values;
  std::vector<uint32_t> lengths;
};

Packed toPacked(const Napi::Value& value) {
  const Napi::Object object = toObject(value);
  return {object.Get("values"), toTokens(object.Get("lengths"))};
}

// Cuts `values` into lists of these lengths.
template <typename List, typename Values>
std::vector<List> divided(const Values& values, const std::vector<uint32_t>& lengths,
                          Napi::Env env) {
  std::vector<List> lists;
  lists.reserve(lengths.size());
  auto at = values.begin();
  for (const uint32_t length : lengths) {
    if (length == 0 || static_cast<size_t>(values.end() - at) < length) {
      throw Napi::TypeError::New(env, "Expected lengths that fit the values");
    }
    lists.emplace_back(at, at + length);
    at += length;
  }
  return lists;
}

std::vector<std::string> toStrings(const Napi::Value& value) {
  const Packed packed = toPacked(value);
  const Napi::Uint8Array bytes = toBytes(packed.values);
  const std::string_view all(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
  return divided<std::string>(all, packed.lengths, value.Env());
}

std::vector<std::vector<uint32_t>> toSequences(const Napi::Value& value) {
  const Packed packed = toPacked(value);
  return divided<std::vector<uint32_t>>(toTokens(packed.values), packed.lengths, value.Env());
}

// An enumeration by the index of its name.
template <typename Enumeration>
Enumeration toEnumeration(const Napi::Value& value, std::initializer_list<const char*> names) {
  const std::string name = toString(value);
  int index = 0;
  for (const char* each : names) {
    if (name == each) return static_cast<Enumeration>(index);
    ++index;
  }
  throw Napi::TypeError::New(value.Env(), "Expected one of the enumeration's names");
}

StageOptions toStageOptions(const Napi::Object& object) {
  StageOptions options;
  options.name = toString(object.Get("name"));
  const Napi::Object numbers = toObject(object.Get("numbers"));
  const Napi::Array keys = numbers.GetPropertyNames();
  for (uint32_t i = 0; i < keys.Length(); ++i) {
    const std::string key = toString(keys[i]);
    options.numbers[key] = toNumber(numbers.Get(key));
  }
  options.sequences = toSequences(object.Get("sequences"));
  options.values = toDoubles(object.Get("values"));
  options.texts = toStrings(object.Get("texts"));
  return options;
}

GenerateOptions toGenerateOptions(const Napi::Object& object) {
  GenerateOptions options;
  options.maxTokens = toInteger(object.Get("maxTokens"));
  options.minTokens = toInteger(object.Get("minTokens"));
  options.seed = static_cast<uint64_t>(toInteger(object.Get("seed")));
  const Napi::Array stages = toArray(object.Get("stages"));
  for (uint32_t i = 0; i < stages.Length(); ++i) {
    options.stages.push_back(toStageOptions(toObject(stages[i])));
  }
  options.stopStrings = toStrings(object.Get("stopStrings"));
  options.stopTokens = toTokens(object.Get("stopTokens"));
  options.ignoresEndOfText = toBoolean(object.Get("ignoreEndOfText"));
  if (const Napi::Value budget = object.Get("timeBudgetMs"); !budget.IsUndefined()) {
    options.timeBudgetMilliseconds = toNumber(budget);
  }
  options.overflow = toEnumeration<Overflow>(object.Get("overflow"), {"stop", "error", "slide"});
  if (const Napi::Value top = object.Get("topLogprobs"); !top.IsUndefined()) {
    options.topLogprobs = toInteger(top);
  }
  options.logprobsAreOfSampler = toBoolean(object.Get("logprobsOfSampler"));
  options.hostStep = toEnumeration<HostStep>(object.Get("hostStep"), {"none", "confirm", "logits"});
  return options;
}

const char* nameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEndOfText:
      return "endOfText";
    case FinishReason::kStopString:
    case FinishReason::kStopToken:
      return "stop";
    case FinishReason::kTime:
      return "time";
    case FinishReason::kHost:
      return "predicate";
  }
  return "";
}

Napi::Object toJavaScript(Napi::Env env, const Generation& generation) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("finishReason", nameOf(generation.finishReason));
  if (generation.finishReason == FinishReason::kStopString) {
    object.Set("stopMatched", generation.stopString);
  }
  if (generation.finishReason == FinishReason::kStopToken) {
    object.Set("stopMatched", static_cast<double>(generation.stopToken));
  }
  object.Set("promptTokens", static_cast<double>(generation.promptTokens));
  object.Set("cachedTokens", static_cast<double>(generation.cachedTokens));
  object.Set("completionTokens", static_cast<double>(generation.completionTokens));
  object.Set("droppedTokens", static_cast<double>(generation.droppedTokens));
  object.Set("promptMs", generation.promptMilliseconds);
  object.Set("firstTokenMs", generation.firstTokenMilliseconds);
  object.Set("totalMs", generation.totalMilliseconds);
  return object;
}

Napi::Uint32Array toJavaScript(Napi::Env env, const std::vector<uint32_t>& numbers) {
  Napi::Uint32Array array = Napi::Uint32Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Float32Array toJavaScript(Napi::Env env, const std::vector<float>& numbers) {
  Napi::Float32Array array = Napi::Float32Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Object toJavaScript(Napi::Env env, const Scores& scores) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("logprobs", toJavaScript(env, scores.logprobs));
  object.Set("ranks", toJavaScript(env, scores.ranks));
  object.Set("entropies", toJavaScript(env, scores.entropies));
  object.Set("variances", toJavaScript(env, scores.variances));
  object.Set("topTokens", toJavaScript(env, scores.topTokens));
  object.Set("topLogprobs", toJavaScript(env, scores.topLogprobs));
  return object;
}

Napi::Object toJavaScript(Napi::Env env, const CrossScores& scores) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("logprobs", toJavaScript(env, scores.logprobs));
  object.Set("entropies", toJavaScript(env, scores.entropies));
  object.Set("crossEntropies", toJavaScript(env, scores.crossEntropies));
  object.Set("crossVariances", toJavaScript(env, scores.crossVariances));
  return object;
}

// Calls onToken. Allocates no native memory, so that tokens arrive when it has run out.
void notify(const Napi::FunctionReference& onToken, Napi::Env env, const NewToken& token,
            bool hasLogprobs) {
  napi_value id = Napi::Number::New(env, token.token);
  if (!hasLogprobs) {
    onToken.Call({id});
    return;
  }
  const LogProbabilities& logprobs = token.logprobs;
  onToken.Call({id, Napi::Number::New(env, static_cast<double>(logprobs.token)),
                toJavaScript(env, logprobs.topTokens), toJavaScript(env, logprobs.topLogprobs)});
}

}  // namespace

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeSession",
      {InstanceMethod<&SessionObject::evaluate>("evaluate"),
       InstanceMethod<&SessionObject::generate>("generate"),
       InstanceMethod<&SessionObject::score>("score"),
       InstanceMethod<&SessionObject::embed>("embed"),
       InstanceMethod<&SessionObject::resume>("resume"),
       InstanceMethod<&SessionObject::wake>("wake"), InstanceMethod<&SessionObject::save>("save"),
       InstanceMethod<&SessionObject::restore>("restore"),
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
  GenerateOptions options = toGenerateOptions(toObject(info[2]));
  Scheduler& scheduler = *running(env).scheduler;  // last: a getter of the options may dispose it

  auto call = std::make_unique<AsyncCall>(env);
  call->keep(Value());
  call->listener = Napi::Persistent(toFunction(info[3]));
  call->onStep = Napi::Persistent(toFunction(info[4]));
  AsyncCalls& calls = AddonData::of(env).calls;
  return calls.run(
      scheduler, std::move(call), toCancelFlag(info[5]),
      [&](AsyncCall& started) {
        const bool hasLogprobs = options.topLogprobs.has_value();
        return std::make_shared<GenerateRequest>(
            scheduler.model(), session_, keep, std::move(tokens), std::move(options),
            [&calls, &started, hasLogprobs](NewToken&& token) {
              calls.post([&started, hasLogprobs, token = std::move(token)](Napi::Env messageEnv) {
                notify(started.listener, messageEnv, token, hasLogprobs);
              });
            },
            [&calls, &started](std::optional<uint32_t> last, GenerateRequest::Logits logits) {
              calls.post([&started, last, logits = std::move(logits)](Napi::Env messageEnv) {
                napi_value undefined = messageEnv.Undefined();
                started.onStep.Call(
                    {last ? Napi::Number::New(messageEnv, *last) : undefined,
                     logits ? static_cast<napi_value>(toJavaScript(messageEnv, *logits))
                            : undefined});
              });
            });
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

Napi::Value SessionObject::score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const int64_t first = toInteger(info[2]);
  std::vector<uint32_t> targets = toTokens(info[3]);
  const int64_t top = toInteger(info[4]);
  Scheduler& scheduler = *running(env).scheduler;
  auto call = std::make_unique<AsyncCall>(env);
  call->keep(Value());
  float* others = nullptr;
  if (!info[5].IsUndefined()) {
    const auto vocabSize =
        static_cast<size_t>(scheduler.model().weights().hyperparameters().vocabSize);
    auto logits = toFloats(info[5], targets.size() * vocabSize);
    others = logits.Data();
    call->keep(logits);
  }
  return AddonData::of(env).calls.run(
      scheduler, std::move(call), toCancelFlag(info[6]),
      [&](AsyncCall&) {
        return std::make_shared<ScoreRequest>(scheduler.model(), session_, keep, std::move(tokens),
                                              first, std::move(targets), top, others);
      },
      [this, &scheduler, others](Request& request) -> MakeResult {
        const size_t bytes = scheduler.model().anonymousBytes();
        auto& scored = static_cast<ScoreRequest&>(request);
        auto scores = std::make_shared<Scores>(std::move(scored.scores()));
        std::shared_ptr<CrossScores> cross;
        if (others != nullptr) {
          cross = std::make_shared<CrossScores>(std::move(scored.crossScores()));
        }
        return [this, scores, cross, bytes](Napi::Env result, AsyncCall&) -> Napi::Value {
          report(result, bytes);
          Napi::Object object = toJavaScript(result, *scores);
          if (cross) object.Set("cross", toJavaScript(result, *cross));
          return object;
        };
      });
}

Napi::Value SessionObject::embed(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<uint32_t> tokens = toTokens(info[0]);
  const int64_t layers = toInteger(info[1]);
  const auto pooling = toEnumeration<Pooling>(info[2], {"mean", "last", "max"});
  Scheduler& scheduler = *running(env).scheduler;
  auto call = std::make_unique<AsyncCall>(env);
  call->keep(Value());
  return AddonData::of(env).calls.run(
      scheduler, std::move(call), toCancelFlag(info[3]),
      [&](AsyncCall&) {
        return std::make_shared<EmbedRequest>(scheduler.model(), session_, std::move(tokens),
                                              layers, pooling);
      },
      [this, &scheduler](Request& request) -> MakeResult {
        const size_t bytes = scheduler.model().anonymousBytes();
        return [this, embedding = static_cast<EmbedRequest&>(request).embedding(), bytes](
                   Napi::Env result, AsyncCall&) -> Napi::Value {
          report(result, bytes);
          return toJavaScript(result, embedding);
        };
      });
}

void SessionObject::resume(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  HostReply reply;
  reply.stops = toBoolean(info[0]);
  Scheduler& scheduler = *running(env).scheduler;
  if (!info[1].IsUndefined()) {
    const auto vocabSize =
        static_cast<size_t>(scheduler.model().weights().hyperparameters().vocabSize);
    const Napi::Float32Array logits = toFloats(info[1], vocabSize);
    reply.logits.assign(logits.Data(), logits.Data() + vocabSize);
  }
  try {
    scheduler.resume(session_, std::move(reply));
  } catch (const Error& error) {
    throw toJavaScript(env, error);
  }
}

void SessionObject::wake(const Napi::CallbackInfo& info) {
  try {
    running(info.Env()).scheduler->wake();
  } catch (const Error& error) {
    throw toJavaScript(info.Env(), error);
  }
}

// A call that was cancelled just before may wait for an answer of the host.
void SessionObject::dispose(const Napi::CallbackInfo& /*info*/) {
  if (!running_) return;
  if (!running_->worker->isClosed()) {
    try {
      running_->scheduler->wake();
    } catch (const std::exception&) {  // no memory, or the worker stops: it ends the call
    }
  }
  release();
}

Napi::Value SessionObject::save(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t keep = toInteger(info[0]);
  std::vector<uint32_t> tokens = toTokens(info[1]);
  const std::string path = toString(info[2]);
  const std::shared_ptr<CancelFlag> cancelled = toCancelFlag(info[3]);
  const RunningModel& running = this->running(env);
  return AddonData::of(env).calls.run(
      *running.worker, std::make_unique<AsyncCall>(env), cancelled,
      [scheduler = running.scheduler, session = session_, keep, tokens = std::move(tokens), path](
          AsyncCall&, const CancelFlag& flag) -> MakeResult {
        session->replaceEnd(keep, tokens);
        saveSession(scheduler->model(), *session, path, &flag);
        return [](Napi::Env result, AsyncCall&) -> Napi::Value { return result.Undefined(); };
      });
}

Napi::Value SessionObject::restore(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = toString(info[0]);
  const std::shared_ptr<CancelFlag> cancelled = toCancelFlag(info[1]);
  const RunningModel& running = this->running(env);
  return AddonData::of(env).calls.run(*running.worker, std::make_unique<AsyncCall>(env), cancelled,
                                      [scheduler = running.scheduler, session = session_, path](
                                          AsyncCall&, const CancelFlag& flag) -> MakeResult {
                                        restoreSession(scheduler->model(), *session, path, &flag);
                                        return [tokens = session->tokens()](
                                                   Napi::Env result, AsyncCall&) -> Napi::Value {
                                          return toJavaScript(result, tokens);
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
