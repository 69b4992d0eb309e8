#pragma once

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <memory>
#include <string>
#include <vector>

#include "base/cancel_flag.h"
#include "base/thread_pool.h"

namespace gpt2 {

struct BackendDeleter {
  void operator()(ggml_backend_t backend) const { ggml_backend_free(backend); }
};
struct BufferDeleter {
  void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
};
struct AllocatorDeleter {
  void operator()(ggml_gallocr_t allocator) const { ggml_gallocr_free(allocator); }
};
using BackendPtr = std::unique_ptr<ggml_backend, BackendDeleter>;
using BufferPtr = std::unique_ptr<ggml_backend_buffer, BufferDeleter>;
using AllocatorPtr = std::unique_ptr<ggml_gallocr, AllocatorDeleter>;

// The device that a model computes on: the CPU with a thread pool, or a GPU that this build
// supports.
class Device {
 public:
  // name: "auto" (a GPU if available, else the CPU), "cpu", "cuda", "metal" or "vulkan".
  // Throws DEVICE_UNAVAILABLE or OUT_OF_MEMORY.
  Device(std::string name, int threads);

  const std::string& name() const noexcept { return name_; }
  int threads() const noexcept { return threads_; }
  bool isCpu() const noexcept { return threadPool_ != nullptr; }
  // Requires isCpu().
  ThreadPool& threadPool() const noexcept { return *threadPool_; }

  // The names of the devices available on this machine with this build.
  static std::vector<std::string> available();

  // Allocates the data of all tensors of a context. Throws OUT_OF_MEMORY.
  BufferPtr allocate(ggml_context* tensors) const;

  // Places the tensors of a context in memory of the CPU, one after the other. Their sizes have to
  // be multiples of ggml's alignment.
  BufferPtr place(ggml_context* tensors, void* data, size_t size) const;

  // An allocator for graphs; it keeps its memory from graph to graph. Throws OUT_OF_MEMORY.
  AllocatorPtr makeAllocator() const;

  // Allocates the tensors of a graph. Throws OUT_OF_MEMORY.
  void allocate(AllocatorPtr& allocator, ggml_cgraph* graph) const;

  // Runs a graph of ggml's own operations. Throws ABORTED if `cancelled` is set by the end,
  // OUT_OF_MEMORY, and DEVICE_UNAVAILABLE if a GPU backend lacks an operation.
  void compute(ggml_cgraph* graph, const CancelFlag* cancelled);

 private:
  void checkSupported(ggml_cgraph* graph) const;

  std::string name_;
  int threads_;
  std::unique_ptr<ThreadPool> threadPool_;
  BackendPtr backend_;
  std::vector<uint8_t> work_;  // the CPU backend's scratch
};

}  // namespace gpt2
