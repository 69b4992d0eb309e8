#include "workers.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace gpt2::binding {

std::shared_ptr<WorkerThread> Workers::start(Logger logger) {
  if (areStopped_) throw Error(code::kDisposed, "the process or its JavaScript thread is ending");
  workers_.erase(std::remove_if(workers_.begin(), workers_.end(),
                                [](const auto& worker) { return worker->ended(); }),
                 workers_.end());
  workers_.reserve(workers_.size() + 1);
  return workers_.emplace_back(std::make_shared<WorkerThread>(std::move(logger)));
}

// Reading a checkpoint takes hundreds of small reads, one after the other. Starting a thread costs
// more than a read.
std::shared_ptr<WorkerThread> Workers::borrow() {
  return idle_ && !areStopped_ ? std::exchange(idle_, nullptr) : start();
}

void Workers::giveBack(std::shared_ptr<WorkerThread> worker) noexcept {
  if (!idle_) {
    idle_ = std::move(worker);
  } else {
    worker->close();
  }
}

void Workers::stopAll() {
  areStopped_ = true;
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) worker->join();
  idle_.reset();
}

}  // namespace gpt2::binding
