#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace gpt2 {

// Throws std::bad_alloc if `bytes` are not to be had now. ggml ends the process when a small
// request of its own is refused, so as much is asked for, and given back, just before.
void requireMemory(size_t bytes);

// A ggml context for the descriptions of tensors and graphs, in memory of ours. The tensors' data
// is elsewhere.
class TensorContext {
 public:
  // Room for `tensorCount` tensors and, if graphNodes is not 0, for a graph of as many nodes.
  // Throws std::bad_alloc.
  explicit TensorContext(size_t tensorCount, size_t graphNodes = 0);

  ggml_context* get() const noexcept { return context_.get(); }
  // Forgets all that was made in it.
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
