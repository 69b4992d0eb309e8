#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace gpt2 {

// Throws std::bad_alloc if `bytes` cannot be allocated. ggml ends the process if one of its small
// allocations fails, so callers check first that as much memory is available.
void requireMemory(size_t bytes);

// A ggml context for the descriptors of tensors and graphs, in memory that this object owns. The
// tensors' data is stored elsewhere.
class TensorContext {
 public:
  // Holds `tensorCount` tensors and, if graphNodes is not 0, a graph of that many nodes. Throws
  // std::bad_alloc.
  explicit TensorContext(size_t tensorCount, size_t graphNodes = 0);

  ggml_context* get() const noexcept { return context_.get(); }
  // Removes all tensors and graphs.
  void clear() noexcept { ggml_reset(context_.get()); }
  size_t byteSize() const noexcept { return memory_.size(); }

 private:
  struct Deleter {
    void operator()(ggml_context* context) const { ggml_free(context); }
  };

  std::vector<uint8_t> memory_;
  std::unique_ptr<ggml_context, Deleter> context_;
};

}  // namespace gpt2
