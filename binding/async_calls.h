#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"
#include "workers.h"

namespace gpt2::binding {

struct AsyncCall;

// Makes the value that a call resolves to, on the JavaScript thread.
using MakeResult = std::function<Napi::Value(Napi::Env, AsyncCall&)>;

// Runs on the JavaScript thread.
using Message = std::function<void(Napi::Env)>;

// An asynchronous call, until its promise is settled. Owned by AsyncCalls. Only the JavaScript
// thread touches its JavaScript values; the worker sets its outcome.
struct AsyncCall {
  explicit AsyncCall(Napi::Env env) : promise(Napi::Promise::Deferred::New(env)) {}

  // Keeps an object that the work uses from being collected.
  void keep(const Napi::Object& object) { kept.push_back(Napi::Persistent(object)); }

  Napi::Promise::Deferred promise;
  Napi::FunctionReference listener;  // receives the progress of the work
  Napi::FunctionReference onStep;    // is asked before each token
  std::vector<Napi::ObjectReference> kept;
  std::shared_ptr<void> owned;  // native state that the work uses
  std::shared_ptr<WorkerThread> borrowed;

  MakeResult makeResult;
  std::exception_ptr failure;
  // Allocated with the call, so that the call can be settled when memory has run out.
  std::unique_ptr<Message> settlement;
};

// The asynchronous calls of one JavaScript environment (the main thread or a worker), and the way
// back to its thread: one ThreadSafeFunction for all calls, which keeps the event loop alive only
// while a call is under way.
class AsyncCalls {
 public:
  explicit AsyncCalls(Napi::Env env);
  ~AsyncCalls() = default;
  AsyncCalls(const AsyncCalls&) = delete;
  AsyncCalls& operator=(const AsyncCalls&) = delete;

  // The work of a call, on a worker thread. Returns the function that makes the result. An
  // exception rejects the call.
  using Work = std::function<MakeResult(AsyncCall& call, const CancelFlag& cancelled)>;

  // On the JavaScript thread: runs the work on `worker`, then settles the promise. Work whose flag
  // is set before its turn does not start.
  Napi::Promise run(WorkerThread& worker, std::unique_ptr<AsyncCall> call,
                    std::shared_ptr<CancelFlag> cancelled, Work work);
  // The same on a borrowed worker, for work that belongs to no model.
  Napi::Promise run(std::unique_ptr<AsyncCall> call, std::shared_ptr<CancelFlag> cancelled,
                    Work work);
  // The same for a request on a model. If the request fails, the call is rejected. Otherwise
  // `onEnd` returns the function that makes the result, on the worker thread.
  using MakeRequest = std::function<std::shared_ptr<Request>(AsyncCall& call)>;
  using OnEnd = std::function<MakeResult(Request&)>;
  Napi::Promise run(Scheduler& scheduler, std::unique_ptr<AsyncCall> call,
                    std::shared_ptr<CancelFlag> cancelled, const MakeRequest& makeRequest,
                    OnEnd onEnd);
  // Calls `beforehand`, which must not throw, and stops a worker. Resolves to undefined when the
  // worker has destroyed the object it kept. Without memory for the call, rejects it and does
  // neither, so that the caller can try again.
  Napi::Promise stop(WorkerThread& worker, std::unique_ptr<AsyncCall> call,
                     const std::function<void()>& beforehand);

  Workers& workers() noexcept { return workers_; }

  // From any thread, until the call is settled: passes a number to its listener.
  void notify(AsyncCall& call, double number);
  // From any thread: runs a function on the JavaScript thread. Throws std::bad_alloc.
  void post(Message message);

 private:
  static void receive(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Message, receive>;

  // Registers a call. Without memory for that, rejects it and returns null.
  AsyncCall* begin(std::unique_ptr<AsyncCall> call);
  void resolve(AsyncCall& call, MakeResult makeResult) noexcept;
  void reject(AsyncCall& call, std::exception_ptr failure) noexcept;
  void send(std::unique_ptr<Message> message) noexcept;
  void settle(Napi::Env env, AsyncCall& call);

  Napi::Env env_;
  Channel channel_;
  std::unordered_map<const AsyncCall*, std::unique_ptr<AsyncCall>> calls_;
  Workers workers_;
};

Napi::Error toJavaScript(Napi::Env env, const Error& error);

}  // namespace gpt2::binding
