#include "serving/sampling/sampler.h"

#include <limits>
#include <string>

#include "base/error.h"
#include "base/split_mix.h"
#include "kernels/row_functions.h"

namespace gpt2 {

namespace {

[[noreturn]] void failWithoutTokens() {
  throw Error(code::kInvalidArgument,
              "Expected sampling options that leave a token, but all were excluded");
}

void checkLogits(const float* logits, size_t count) {
  if (areFinite(logits, static_cast<int64_t>(count))) return;
  bool isAnyLeft = false;
  for (size_t i = 0; i < count; ++i) {
    // Written so that NaN fails.
    if (!(logits[i] <= std::numeric_limits<float>::max())) {
      throw Error(code::kNotFinite, "Expected logits that are numbers or −∞ but received " +
                                        std::to_string(logits[i]) + " for token " +
                                        std::to_string(i));
    }
    isAnyLeft |= logits[i] > -std::numeric_limits<float>::infinity();
  }
  if (!isAnyLeft) failWithoutTokens();
}

}  // namespace

Sampler::Sampler(const std::vector<StageOptions>& stages, const StageContext& context)
    : Sampler(context.seed) {
  for (const StageOptions& stage : stages) stages_.push_back(makeStage(stage, context));
}

// With 64 bits of state, every seed is as good as any other.
double Sampler::nextUniform() {
  state_ += kSplitMixStep;
  return static_cast<double>(splitMix(state_) >> 11U) * 0x1p-53;
}

void Sampler::acceptPrompt(const std::vector<uint32_t>& tokens) {
  for (const auto& stage : stages_) {
    for (const uint32_t token : tokens) stage->accept(token);
    stage->endPrompt();
  }
}

uint32_t Sampler::sample(const float* logits, size_t vocabSize) {
  checkLogits(logits, vocabSize);
  candidates_.assign(logits, vocabSize);
  for (const auto& stage : stages_) {
    stage->apply(candidates_);
    if (candidates_.areAllRemoved()) failWithoutTokens();
  }
  return candidates_.draw(nextUniform());
}

void Sampler::accept(uint32_t token) {
  for (const auto& stage : stages_) stage->accept(token);
}

void Sampler::reset() {
  state_ = seed_;
  for (const auto& stage : stages_) stage->reset();
}

std::unique_ptr<Sampler> Sampler::clone() const {
  std::unique_ptr<Sampler> copy(new Sampler(seed_));
  copy->state_ = state_;
  for (const auto& stage : stages_) copy->stages_.push_back(stage->clone());
  return copy;
}

}  // namespace gpt2
