#pragma once

#include <memory>
#include <vector>

#include "base/logger.h"
#include "serving/worker_thread.h"

namespace gpt2::binding {

// The worker threads of one JavaScript environment. Belongs to the JavaScript thread.
class Workers {
 public:
  // A thread that stays until it is stopped or closed. Throws OUT_OF_MEMORY, and DISPOSED after
  // stopAll().
  std::shared_ptr<WorkerThread> start(Logger logger = {});

  // A thread for one call: the idle one, or a new one. Throws as start() does.
  std::shared_ptr<WorkerThread> borrow();
  // Takes a borrowed thread back, and keeps it for the next call if no other is idle.
  void giveBack(std::shared_ptr<WorkerThread> worker) noexcept;

  // Stops all threads and waits until they have ended. None starts any more.
  void stopAll();

 private:
  // Each until it has ended, so that joining it does not block the event loop.
  std::vector<std::shared_ptr<WorkerThread>> workers_;
  std::shared_ptr<WorkerThread> idle_;
  bool areStopped_ = false;
};

}  // namespace gpt2::binding
