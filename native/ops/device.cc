#include "ops/device.h"

#include <algorithm>
#include <cctype>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/pages.h"
#include "base/tensor_context.h"
#include "kernels/kernels.h"

namespace gpt2 {

namespace {

// Our API's name for the backend of a ggml device.
std::string backendName(ggml_backend_dev_t device) {
  std::string name = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name == "mtl" ? "metal" : name;
}

bool isGpu(ggml_backend_dev_t device) {
  const auto type = ggml_backend_dev_type(device);
  return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

bool isCancelled(void* flag) {
  return static_cast<const CancelFlag*>(flag)->load(std::memory_order_relaxed);
}

// An upper bound for the small allocations of ggml's allocators and buffers. ggml ends the process
// if one of them fails.
constexpr size_t kAllocatorBytes = size_t{64} << 10;
constexpr size_t kBytesPerNode = 1024;  // that an allocator needs for a graph

}  // namespace

Device::Device(std::string name, int threads) : name_(std::move(name)), threads_(threads) {
  if (name_ != "cpu") {
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
      ggml_backend_dev_t device = ggml_backend_dev_get(i);
      const std::string candidate = backendName(device);
      if (!isGpu(device) || (name_ != "auto" && name_ != candidate)) continue;
      backend_.reset(ggml_backend_dev_init(device, nullptr));
      if (backend_) {
        name_ = candidate;
        return;
      }
    }
    if (name_ != "auto") {
      std::string list;
      for (const std::string& device : available()) list += (list.empty() ? "" : ", ") + device;
      throw Error(code::kDeviceUnavailable,
                  "Expected an available device (" + list + ") but received \"" + name_ + "\"");
    }
    name_ = "cpu";
  }

  checkKernelChoice();
  threadPool_ = std::make_unique<ThreadPool>(threads_);
  requireMemory(kAllocatorBytes);
  backend_.reset(ggml_backend_cpu_init());
  if (!backend_) throw Error(code::kOutOfMemory, "no memory for the CPU backend");
}

std::vector<std::string> Device::available() {
  std::vector<std::string> names{"cpu"};
  for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t device = ggml_backend_dev_get(i);
    const std::string name = backendName(device);
    if (isGpu(device) && std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  return names;
}

BufferPtr Device::allocate(ggml_context* tensors) const {
  requireMemory(kAllocatorBytes);
  BufferPtr buffer(ggml_backend_alloc_ctx_tensors(tensors, backend_.get()));
  if (!buffer) throw Error(code::kOutOfMemory, "no memory on the device \"" + name_ + "\"");
  if (isCpu()) {
    preferLargePages(ggml_backend_buffer_get_base(buffer.get()),
                     ggml_backend_buffer_get_size(buffer.get()));
  }
  return buffer;
}

BufferPtr Device::place(ggml_context* tensors, void* data, size_t size) const {
  requireMemory(kAllocatorBytes);
  BufferPtr buffer(ggml_backend_cpu_buffer_from_ptr(data, size));
  auto* next = static_cast<uint8_t*>(data);
  for (ggml_tensor* tensor = ggml_get_first_tensor(tensors); tensor != nullptr;
       tensor = ggml_get_next_tensor(tensors, tensor)) {
    ggml_backend_tensor_alloc(buffer.get(), tensor, next);
    next += ggml_nbytes(tensor);
  }
  return buffer;
}

AllocatorPtr Device::makeAllocator() const {
  requireMemory(kAllocatorBytes);
  return AllocatorPtr(ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend_.get())));
}

void Device::allocate(AllocatorPtr& allocator, ggml_cgraph* graph) const {
  requireMemory(kAllocatorBytes + static_cast<size_t>(ggml_graph_size(graph)) * kBytesPerNode);
  try {
    if (ggml_gallocr_alloc_graph(allocator.get(), graph)) return;
  } catch (const std::bad_alloc&) {
    // The exception passed through ggml's C code, which now holds a freed buffer and would free it
    // again.
    static_cast<void>(allocator.release());
    allocator = makeAllocator();
    throw;
  }
  // After a failure ggml's allocator behaves as if it had the memory.
  allocator = makeAllocator();
  throw Error(code::kOutOfMemory, "no memory for the activations");
}

void Device::compute(ggml_cgraph* graph, const CancelFlag* cancelled) {
  requireMemory(kAllocatorBytes);  // ggml creates and frees a context every time
  ggml_status status = GGML_STATUS_SUCCESS;
  if (isCpu()) {
    ggml_cplan plan = ggml_graph_plan(graph, 1, nullptr);
    if (work_.size() < plan.work_size) work_.resize(plan.work_size);
    plan.work_data = work_.data();
    if (cancelled != nullptr) {
      plan.abort_callback = isCancelled;
      plan.abort_callback_data = const_cast<CancelFlag*>(cancelled);
    }
    status = ggml_graph_compute(graph, &plan);
  } else {
    checkSupported(graph);
    status = ggml_backend_graph_compute(backend_.get(), graph);
  }
  throwIfCancelled(cancelled);
  if (status == GGML_STATUS_ALLOC_FAILED) {
    throw Error(code::kOutOfMemory, "no memory for the computation");
  }
  if (status != GGML_STATUS_SUCCESS) {
    throw Error(code::kInternal, "the computation failed on the device \"" + name_ + "\"");
  }
}

// A GPU backend ends the process if it lacks an operation.
void Device::checkSupported(ggml_cgraph* graph) const {
  for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(graph, i);
    if (ggml_backend_supports_op(backend_.get(), node)) continue;
    throw Error(code::kDeviceUnavailable, "the device \"" + name_ + "\" does not support " +
                                              ggml_op_desc(node) + " for this model's types");
  }
}

}  // namespace gpt2
