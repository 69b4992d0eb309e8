#include "base/tensor_context.h"

#include <new>

namespace gpt2 {

namespace {

// A ggml_context is 64 bytes.
constexpr size_t kContextBytes = 1024;

size_t memoryFor(size_t tensorCount, size_t graphNodes) {
  const size_t graph = graphNodes == 0 ? 0 : ggml_graph_overhead_custom(graphNodes, false);
  return tensorCount * ggml_tensor_overhead() + graph;
}

ggml_context* makeContext(std::vector<uint8_t>& memory) {
  requireMemory(kContextBytes);
  ggml_init_params params{};
  params.mem_size = memory.size();
  params.mem_buffer = memory.data();
  params.no_alloc = true;
  return ggml_init(params);
}

}  // namespace

void requireMemory(size_t bytes) {
  void* volatile memory = ::operator new(bytes);  // volatile: the compiler must keep both calls
  ::operator delete(memory);
}

TensorContext::TensorContext(size_t tensorCount, size_t graphNodes)
    : memory_(memoryFor(tensorCount, graphNodes)), context_(makeContext(memory_)) {}

}  // namespace gpt2
