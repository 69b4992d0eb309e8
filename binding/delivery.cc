#include "delivery.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

namespace gpt2::binding {

namespace {

// Without memory to say how a call ended, its promise would stay open for ever: waits for some.
template <class Attempt>
void persistently(const Attempt& attempt) {
  constexpr int kAttempts = 200;
  for (int i = 0; i < kAttempts; ++i) {
    try {
      return attempt();
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

Error toError(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {code::kOutOfMemory, "no memory for the call"};
  } catch (const std::exception& error) {
    return {code::kInternal, error.what()};
  }
}

}  // namespace

Napi::Error toJavaScript(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, error.code()));
  return result;
}

Delivery::Delivery(Napi::Env env)
    : env_(env), channel_(Channel::New(env, "gpt2-native", 0, 1, nullptr)) {
  channel_.Unref(env);
  // Hooks run in the reverse order of their registration: this one before the channel's own, so
  // that the workers are at rest when the channel closes.
  // Releasing the channel from its own finalizer or later would deadlock.
  env.AddCleanupHook(
      [](Delivery* delivery) {
        delivery->stopWorkers();
        delivery->channel_.Release();
      },
      this);
}

void Delivery::stopWorkers() {
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
}

std::shared_ptr<WorkerThread> Delivery::startWorker(Logger logger) {
  workers_.erase(std::remove_if(workers_.begin(), workers_.end(),
                                [](const auto& other) { return other->ended(); }),
                 workers_.end());
  try {
    workers_.push_back(std::make_shared<WorkerThread>(std::move(logger)));
  } catch (const Error& error) {
    throw toJavaScript(env_, error);
  }
  return workers_.back();
}

uint64_t Delivery::begin(std::unique_ptr<Task> task) {
  if (tasks_.empty()) channel_.Ref(env_);
  const uint64_t number = nextTask_++;
  tasks_.emplace(number, std::move(task));
  return number;
}

void Delivery::post(Message message) {
  auto owned = std::make_unique<Message>(std::move(message));
  // Refused only when the environment is going; then nobody is left to hear.
  if (channel_.NonBlockingCall(owned.get()) == napi_ok) static_cast<void>(owned.release());
}

// env is null when the environment is going.
void Delivery::receive(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message) {
  const std::unique_ptr<Message> owned(message);
  if (env != nullptr) (*owned)(env);
}

void Delivery::finish(Napi::Env env, uint64_t task, const std::function<void(Task&)>& settle) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return;
  const std::unique_ptr<Task> finished = std::move(found->second);
  tasks_.erase(found);
  if (tasks_.empty()) channel_.Unref(env);
  settle(*finished);
}

void Delivery::resolve(uint64_t task, const Result& result) {
  persistently([&] {
    post([this, task, result](Napi::Env env) {
      finish(env, task, [&](Task& finished) {
        try {
          finished.promise.Resolve(result(env, finished));
        } catch (const Napi::Error& error) {
          finished.promise.Reject(error.Value());
        }
      });
    });
  });
}

void Delivery::reject(uint64_t task, const std::exception_ptr& failure) {
  persistently([&] {
    post([this, task, error = toError(failure)](Napi::Env env) {
      finish(env, task,
             [&](Task& finished) { finished.promise.Reject(toJavaScript(env, error).Value()); });
    });
  });
}

void Delivery::deliver(uint64_t task, double number) {
  post([this, task, number](Napi::Env env) {
    const auto found = tasks_.find(task);
    if (found != tasks_.end()) found->second->listener.Call({Napi::Number::New(env, number)});
  });
}

Napi::Promise Delivery::run(WorkerThread& worker, std::unique_ptr<Task> task,
                            std::shared_ptr<CancelFlag> cancelled, Work work) {
  const Napi::Promise promise = task->promise.Promise();
  const uint64_t number = begin(std::move(task));
  try {
    worker.post(std::move(cancelled),
                [this, number, work = std::move(work)](const CancelFlag& flag) {
                  try {
                    throwIfCancelled(&flag);
                    resolve(number, work(number, flag));
                  } catch (...) {
                    reject(number, std::current_exception());
                  }
                });
  } catch (...) {
    reject(number, std::current_exception());
  }
  return promise;
}

Napi::Promise Delivery::run(Scheduler& scheduler, std::unique_ptr<Task> task,
                            std::shared_ptr<CancelFlag> cancelled, const MakeRequest& makeRequest,
                            OnEnd onEnd) {
  const Napi::Promise promise = task->promise.Promise();
  const uint64_t number = begin(std::move(task));
  try {
    scheduler.submit(std::move(cancelled), makeRequest(number),
                     [this, number, onEnd = std::move(onEnd)](Request& request) {
                       try {
                         if (request.failure()) std::rethrow_exception(request.failure());
                         resolve(number, onEnd(request));
                       } catch (...) {
                         reject(number, std::current_exception());
                       }
                     });
  } catch (...) {
    reject(number, std::current_exception());
  }
  return promise;
}

Napi::Promise Delivery::runApart(std::unique_ptr<Task> task, std::shared_ptr<CancelFlag> cancelled,
                                 Work work) {
  const std::shared_ptr<WorkerThread> worker = startWorker();
  Napi::Promise promise = run(*worker, std::move(task), std::move(cancelled), std::move(work));
  worker->close();
  return promise;
}

Napi::Promise Delivery::stop(WorkerThread& worker, std::unique_ptr<Task> task,
                             std::function<void()> last, const Result& onStopped) {
  const Napi::Promise promise = task->promise.Promise();
  const uint64_t number = begin(std::move(task));
  const bool stops = worker.stop([this, number, last = std::move(last), onStopped] {
    last();
    resolve(number, onStopped);
  });
  if (!stops) resolve(number, onStopped);  // it had stopped before
  return promise;
}

}  // namespace gpt2::binding
