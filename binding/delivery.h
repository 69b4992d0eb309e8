#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"

namespace gpt2::binding {

// An asynchronous call, from the call until its promise is settled. Lives on the JavaScript thread;
// other threads know it by its number.
struct Task {
  explicit Task(Napi::Env env) : promise(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise::Deferred promise;
  Napi::FunctionReference listener;         // hears of the work's progress
  std::vector<Napi::ObjectReference> kept;  // what the worker works on must not be collected
  std::shared_ptr<void> owned;              // … or destroyed

  void keep(const Napi::Object& object) { kept.push_back(Napi::Persistent(object)); }
};

// What one JavaScript environment (the main thread, a worker) has of this addon: the way back to
// its thread, the calls under way, and the workers to stop before the environment goes.
//
// One ThreadSafeFunction serves all calls. It keeps the event loop alive only while calls are under
// way.
class Delivery {
 public:
  // Makes the value that a task resolves to, on the JavaScript thread.
  using Result = std::function<Napi::Value(Napi::Env, Task&)>;

  explicit Delivery(Napi::Env env);
  ~Delivery() = default;
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  // The work of a task, on a worker thread; `task` is its number. Throws Error.
  using Work = std::function<Result(uint64_t task, const CancelFlag& cancelled)>;

  // On the JavaScript thread: has `worker` do the work, and settles the task's promise with its
  // result or its error. Work whose flag is set before its turn comes is not begun.
  Napi::Promise run(WorkerThread& worker, std::unique_ptr<Task> task,
                    std::shared_ptr<CancelFlag> cancelled, Work work);
  // The same for a request on a model; `task` is its number. A request that fails rejects with its
  // failure, else `onEnd` makes the result, on the worker thread.
  using MakeRequest = std::function<std::shared_ptr<Request>(uint64_t task)>;
  using OnEnd = std::function<Result(Request&)>;
  Napi::Promise run(Scheduler& scheduler, std::unique_ptr<Task> task,
                    std::shared_ptr<CancelFlag> cancelled, const MakeRequest& makeRequest,
                    OnEnd onEnd);
  // The same for work that belongs to no model: on a worker that ends with it.
  Napi::Promise runApart(std::unique_ptr<Task> task, std::shared_ptr<CancelFlag> cancelled,
                         Work work);
  // Stops a worker, whose last job is `last`; then `onStopped` makes the result, on the JavaScript
  // thread.
  Napi::Promise stop(WorkerThread& worker, std::unique_ptr<Task> task, std::function<void()> last,
                     const Result& onStopped);
  // An worker that is kept until its thread has ended, so that nobody has to wait for that. Throws
  // a JavaScript error if the system grants no thread.
  std::shared_ptr<WorkerThread> startWorker(Logger logger = {});

  // Stops all workers of this environment, and waits until they are at rest.
  void stopWorkers();

  // From any thread, before the task is settled: its listener hears a number.
  void deliver(uint64_t task, double number);
  // From any thread: runs `message` on the JavaScript thread.
  using Message = std::function<void(Napi::Env)>;
  void post(Message message);

 private:
  static void receive(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Message, receive>;

  uint64_t begin(std::unique_ptr<Task> task);
  void resolve(uint64_t task, const Result& result);
  void reject(uint64_t task, const std::exception_ptr& failure);
  void finish(Napi::Env env, uint64_t task, const std::function<void(Task&)>& settle);

  Napi::Env env_;
  Channel channel_;
  std::unordered_map<uint64_t, std::unique_ptr<Task>> tasks_;
  uint64_t nextTask_ = 0;
  std::vector<std::shared_ptr<WorkerThread>> workers_;
};

Napi::Error toJavaScript(Napi::Env env, const Error& error);

}  // namespace gpt2::binding
