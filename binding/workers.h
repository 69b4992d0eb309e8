#pragma once

#include <memory>
#include <vector>

#include "base/logger.h"
#include "serving/worker_thread.h"

namespace gpt2::binding {

// The worker threads of one JavaScript environment. Belongs to the JavaScript thread.
class Workers {
 public:
  // A thread that stays until it is stopped or closed. Throws OUT_OF_MEMORY.
  std::shared_ptr<WorkerThread> start(Logger logger = {});

  // A thread for one piece of work: the idle one, or a new one. Throws OUT_OF_MEMORY.
  std::shared_ptr<WorkerThread> borrow();
  // Takes a borrowed thread back, and keeps it for the next piece of work if no other is idle.
  void giveBack(std::shared_ptr<WorkerThread> worker) noexcept;

  // Stops all threads and waits until they have ended.
  void stopAll();

 private:
  // Kept until each has ended, so that nobody waits for one before the environment ends.
  std::vector<std::shared_ptr<WorkerThread>> workers_;
  std::shared_ptr<WorkerThread> idle_;
};

}  // namespace gpt2::binding
