#include "engine.h"

#include <utility>

#include "error.h"

namespace gpt2 {

Engine::Engine() : thread_([this] { work(); }) {}

Engine::~Engine() { join(); }

void Engine::join() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void Engine::post(std::shared_ptr<CancelFlag> cancelled, Job job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_) throw Error(code::kDisposed, "the model was disposed");
    waiting_.push_back({std::move(cancelled), std::move(job)});
  }
  changed_.notify_one();
}

void Engine::stop(std::function<void()> last) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
    last_ = std::move(last);
    if (running_) *running_ = true;
    for (const Entry& entry : waiting_) *entry.cancelled = true;
  }
  changed_.notify_one();
}

bool Engine::stopped() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stopped_;
}

void Engine::work() {
  for (;;) {
    Entry entry;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      running_.reset();
      changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      entry = std::move(waiting_.front());
      waiting_.pop_front();
      running_ = entry.cancelled;
    }
    entry.job(*entry.cancelled);
  }
  if (last_) last_();
}

}  // namespace gpt2
