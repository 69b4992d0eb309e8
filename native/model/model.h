#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/forward_pass.h"
#include "model/session.h"
#include "model/weights.h"
#include "ops/device.h"
#include "text/token_trie.h"

namespace gpt2 {

struct ModelOptions {
  std::string device = "auto";
  int threads = 0;                     // 0: physicalCpuCount()
  int64_t contextLength = 0;           // 0: the model's own
  std::optional<ggml_type> cacheType;  // f32 or f16; unset: f32 for f32 weights, else f16
  // The limit of the memory for KV caches; unset: a quarter of the machine's memory, and at least
  // that of one sequence of contextLength.
  std::optional<size_t> cacheBytes;
  size_t machineBytes = std::numeric_limits<size_t>::max();
  bool sharesPrefixes = true;  // whether sequences with an equal beginning share keys and values
  bool map = true;
  OperatorSet operators = OperatorSet::kFused;  // on the CPU; kStock, for tests, has one thread
};

// A model in memory, ready to compute. Belongs to one thread at a time: the worker's.
class Model {
 public:
  // Throws what Device, ModelFiles and Weights throw, INVALID_ARGUMENT and ABORTED.
  Model(const std::string& path, const ModelOptions& options,
        const CancelFlag* cancelled = nullptr);

  const Weights& weights() const noexcept { return weights_; }
  const Device& device() const noexcept { return device_; }
  int64_t contextLength() const noexcept { return contextLength_; }
  ggml_type cacheType() const noexcept { return cacheType_; }
  // The ids of the tokens that end a text: those in the vocabulary that the file names.
  const std::set<uint32_t>& endOfText() const noexcept { return endOfText_; }
  // The tokens by what they spell; read on first use. Throws TOKENIZER_MISSING if the file has no
  // vocabulary, and INVALID_FILE.
  std::shared_ptr<const TokenTrie> tokenTrie();
  // Memory of the weights, of activations, and of all sessions' caches.
  size_t anonymousBytes() const noexcept;
  CacheMemory& cacheMemory() noexcept { return *cacheMemory_; }

  std::unique_ptr<Session> createSession();

  // One forward pass over a batch: evaluates the tokens of its entries, each of a session of its
  // own whose cache is prepared for them, together at most ForwardPass::kMaxBatchTokens, and passes
  // the outputs to the sink.
  //
  // Throws ABORTED, FILE_UNREADABLE or OUT_OF_MEMORY. An entry whose outputs were not all received
  // then counts as not evaluated, so that the pass can be repeated.
  void evaluate(const std::vector<BatchEntry>& batch, const OutputSink& sink,
                const CancelFlag* cancelled);

 private:
  // Computes these outputs of hidden states, at most ForwardPass::kMaxHeadRows, and passes them to
  // the sink. hidden: [width, outputs]
  void passOutputs(std::vector<Output>& outputs, OutputKind kind, const float* hidden,
                   const OutputSink& sink, const CancelFlag* cancelled);

  Device device_;
  Weights weights_;
  int64_t contextLength_;
  ggml_type cacheType_;
  std::set<uint32_t> endOfText_;
  std::shared_ptr<const TokenTrie> tokenTrie_;
  std::shared_ptr<CacheMemory> cacheMemory_;
  ForwardPass forwardPass_;
};

}  // namespace gpt2
