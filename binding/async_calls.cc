#include "async_calls.h"

#include <new>
#include <utility>

namespace gpt2::binding {

namespace {

// Allocates no native memory, so that it works after a std::bad_alloc.
Napi::Error makeError(Napi::Env env, const char* code, const char* message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

Napi::Error toJavaScript(Napi::Env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const Error& error) {
    return makeError(env, error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return makeError(env, code::kOutOfMemory, "no memory for the call");
  } catch (const std::exception& error) {
    return makeError(env, code::kInternal, error.what());
  }
}

}  // namespace

Napi::Error toJavaScript(Napi::Env env, const Error& error) {
  return makeError(env, error.code(), error.what());
}

AsyncCalls::AsyncCalls(Napi::Env env)
    : env_(env), channel_(Channel::New(env, "gpt2-native", 0, 1, nullptr)) {
  channel_.Unref(env);
  // Hooks run in the reverse order of their registration: this one before the channel's own, so
  // that the workers have ended when the channel closes. Releasing the channel in its own finalizer
  // or later would deadlock.
  env.AddCleanupHook(
      [](AsyncCalls* calls) {
        calls->workers_.stopAll();
        calls->channel_.Release();
      },
      this);
}

AsyncCall* AsyncCalls::begin(std::unique_ptr<AsyncCall> given) {
  AsyncCall* call = given.get();
  try {
    call->settlement =
        std::make_unique<Message>([this, call](Napi::Env env) { settle(env, *call); });
    calls_[call];  // allocates the entry
  } catch (...) {
    if (call->borrowed) workers_.giveBack(std::move(call->borrowed));
    call->promise.Reject(toJavaScript(env_, std::current_exception()).Value());
    return nullptr;
  }
  calls_[call] = std::move(given);
  // Only now: without a call to be settled, the event loop would be kept alive for ever.
  if (calls_.size() == 1) channel_.Ref(env_);
  return call;
}

void AsyncCalls::send(std::unique_ptr<Message> message) noexcept {
  // Refused only while the environment ends, when no message is awaited any more.
  if (channel_.NonBlockingCall(message.get()) == napi_ok) static_cast<void>(message.release());
}

void AsyncCalls::post(Message message) { send(std::make_unique<Message>(std::move(message))); }

// env is null while the environment ends.
void AsyncCalls::receive(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message) {
  const std::unique_ptr<Message> owned(message);
  if (env != nullptr) (*owned)(env);
}

void AsyncCalls::resolve(AsyncCall& call, MakeResult makeResult) noexcept {
  call.makeResult = std::move(makeResult);
  send(std::move(call.settlement));
}

void AsyncCalls::reject(AsyncCall& call, std::exception_ptr failure) noexcept {
  call.failure = std::move(failure);
  send(std::move(call.settlement));
}

// The settlement is the last message about a call.
void AsyncCalls::settle(Napi::Env env, AsyncCall& call) {
  const auto found = calls_.find(&call);
  const std::unique_ptr<AsyncCall> settled = std::move(found->second);
  calls_.erase(found);
  if (calls_.empty()) channel_.Unref(env);
  if (settled->borrowed) workers_.giveBack(std::move(settled->borrowed));
  if (!settled->failure) {
    try {
      settled->promise.Resolve(settled->makeResult(env, *settled));
      return;
    } catch (...) {
      settled->failure = std::current_exception();
    }
  }
  settled->promise.Reject(toJavaScript(env, settled->failure).Value());
}

void AsyncCalls::notify(AsyncCall& call, double number) {
  post([&call, number](Napi::Env env) { call.listener.Call({Napi::Number::New(env, number)}); });
}

Napi::Promise AsyncCalls::run(WorkerThread& worker, std::unique_ptr<AsyncCall> given,
                              std::shared_ptr<CancelFlag> cancelled, Work work) {
  const Napi::Promise promise = given->promise.Promise();
  AsyncCall* call = begin(std::move(given));
  if (call == nullptr) return promise;
  try {
    worker.post(std::move(cancelled), [this, call, work = std::move(work)](const CancelFlag& flag) {
      try {
        throwIfCancelled(&flag);
        resolve(*call, work(*call, flag));
      } catch (...) {
        reject(*call, std::current_exception());
      }
    });
  } catch (...) {
    reject(*call, std::current_exception());
  }
  return promise;
}

Napi::Promise AsyncCalls::run(std::unique_ptr<AsyncCall> call,
                              std::shared_ptr<CancelFlag> cancelled, Work work) {
  const Napi::Promise promise = call->promise.Promise();
  try {
    call->borrowed = workers_.borrow();
  } catch (...) {
    call->promise.Reject(toJavaScript(env_, std::current_exception()).Value());
    return promise;
  }
  WorkerThread& worker = *call->borrowed;
  return run(worker, std::move(call), std::move(cancelled), std::move(work));
}

Napi::Promise AsyncCalls::run(Scheduler& scheduler, std::unique_ptr<AsyncCall> given,
                              std::shared_ptr<CancelFlag> cancelled, const MakeRequest& makeRequest,
                              OnEnd onEnd) {
  const Napi::Promise promise = given->promise.Promise();
  AsyncCall* call = begin(std::move(given));
  if (call == nullptr) return promise;
  try {
    scheduler.submit(std::move(cancelled), makeRequest(*call),
                     [this, call, onEnd = std::move(onEnd)](Request& request) {
                       try {
                         if (request.failure()) std::rethrow_exception(request.failure());
                         resolve(*call, onEnd(request));
                       } catch (...) {
                         reject(*call, std::current_exception());
                       }
                     });
  } catch (...) {
    reject(*call, std::current_exception());
  }
  return promise;
}

Napi::Promise AsyncCalls::stop(WorkerThread& worker, std::unique_ptr<AsyncCall> given,
                               const std::function<void()>& beforehand) {
  const Napi::Promise promise = given->promise.Promise();
  given->makeResult = [](Napi::Env env, AsyncCall&) { return env.Undefined(); };
  std::function<void()> onStopped = [this, call = given.get()] {
    resolve(*call, std::move(call->makeResult));
  };
  AsyncCall* call = begin(std::move(given));
  if (call == nullptr) return promise;
  beforehand();
  // A worker that was stopped before does not call onStopped.
  if (!worker.stop(std::move(onStopped))) resolve(*call, std::move(call->makeResult));
  return promise;
}

}  // namespace gpt2::binding
