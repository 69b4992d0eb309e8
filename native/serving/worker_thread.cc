#include "serving/worker_thread.h"

#include <new>
#include <utility>

#include "base/error.h"

namespace gpt2 {

WorkerThread::WorkerThread(Logger logger) {
  try {
    thread_ =
        std::thread([this, logger = std::move(logger)]() mutable { work(std::move(logger)); });
  } catch (const std::exception&) {
    throw Error(code::kOutOfMemory, "the system does not grant another thread");
  }
}

WorkerThread::~WorkerThread() { join(); }

void WorkerThread::join() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void WorkerThread::post(std::shared_ptr<CancelFlag> cancelled, Job job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) throw Error(code::kDisposed, "the model was disposed");
    waiting_.push_back({std::move(cancelled), std::move(job)});
  }
  changed_.notify_one();
}

void WorkerThread::release(std::shared_ptr<void> object) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    try {
      waiting_.push_back({std::make_shared<CancelFlag>(false), [object](const CancelFlag&) {}});
    } catch (const std::bad_alloc&) {
      return;
    }
    object.reset();  // the job holds it now
  }
  changed_.notify_one();
}

void WorkerThread::close() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_one();
}

bool WorkerThread::isClosed() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return closed_;
}

bool WorkerThread::stop(std::function<void()> last) noexcept {
  bool stops = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops = !closed_;
    if (stops) last_ = std::move(last);
    closed_ = true;
    if (running_) *running_ = true;
    for (const Entry& entry : waiting_) *entry.cancelled = true;
  }
  changed_.notify_one();
  return stops;
}

void WorkerThread::work(Logger logger) {
  const LogScope log(std::move(logger));
  for (;;) {
    Entry entry;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      running_.reset();
      changed_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      entry = std::move(waiting_.front());
      waiting_.pop_front();
      running_ = entry.cancelled;
    }
    entry.job(*entry.cancelled);
  }
  kept_.reset();
  if (last_) last_();
  last_ = nullptr;
  ended_ = true;
}

}  // namespace gpt2
