#include "model.h"

#include <algorithm>

#include "cpu_count.h"
#include "error.h"

namespace gpt2 {

namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

int64_t checkedContextLength(const Weights& weights, int64_t asked) {
  const int64_t own = weights.hyperparameters().contextLength;
  if (asked > own) {
    throw Error(code::kInvalidArgument, "Expected a contextLength of 1 to " + std::to_string(own) +
                                            ", the model's own, but received " +
                                            std::to_string(asked));
  }
  return asked == 0 ? own : asked;
}

std::optional<uint32_t> readEndOfText(const Weights& weights) {
  const MetadataValue* value = weights.file().find("tokenizer.ggml.eos_token_id");
  const std::optional<double> id = value == nullptr ? std::nullopt : value->number();
  const auto vocabSize = static_cast<double>(weights.hyperparameters().vocabSize);
  if (!id || !(*id >= 0 && *id < vocabSize)) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

}  // namespace

Model::Model(const std::string& path, const ModelOptions& options, const CancelFlag* cancelled)
    : device_(options.device, options.threads == 0 ? physicalCpuCount() : options.threads),
      weights_(std::make_shared<const GgufFile>(path, options.map, cancelled), device_, cancelled),
      contextLength_(checkedContextLength(weights_, options.contextLength)),
      cacheType_(options.cacheType.value_or(
          weights_.dominantType() == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_F16)),
      endOfText_(readEndOfText(weights_)),
      forwardPass_(weights_, device_, options.operators) {}

size_t Model::anonymousBytes() const noexcept {
  const size_t scratch = device_.isCpu() ? device_.executor().byteSize() : 0;
  return weights_.anonymousBytes() + forwardPass_.byteSize() + scratch;
}

std::unique_ptr<Session> Model::createSession() {
  return std::make_unique<Session>(KvCache(device_, weights_.hyperparameters(), cacheType_));
}

void Model::append(Session& session, int64_t keep, const std::vector<uint32_t>& tokens) {
  if (keep < 0 || keep > session.length()) {
    throw Error(code::kInternal, "the session is shorter than the caller believes");
  }
  const int64_t vocabSize = weights_.hyperparameters().vocabSize;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= vocabSize) {
      throw Error(code::kTokenOutOfRange, "Expected token ids below " + std::to_string(vocabSize) +
                                              " but received " + std::to_string(tokens[i]) +
                                              " at index " + std::to_string(i));
    }
  }
  const int64_t length = keep + static_cast<int64_t>(tokens.size());
  if (length > contextLength_) {
    throw Error(code::kContextOverflow, "Expected at most " + std::to_string(contextLength_) +
                                            " tokens, the context length, but received " +
                                            std::to_string(tokens.size()) +
                                            (keep == 0 ? "" : " after " + std::to_string(keep)));
  }
  session.rewind(keep);
  session.append(tokens);
  session.cache().reserve(length, session.evaluated());
}

// Evaluates, slice by slice, all tokens of the session that have not been.
void Model::evaluatePending(Session& session, const std::vector<int64_t>& positions,
                            const OnHidden& onHidden, const CancelFlag* cancelled) {
  auto next = std::lower_bound(positions.begin(), positions.end(), session.evaluated());
  while (session.evaluated() < session.length()) {
    const int64_t start = session.evaluated();
    const int64_t count = std::min(session.length() - start, ForwardPass::kSliceLength);
    std::vector<int64_t> rows;
    for (; next != positions.end() && *next < start + count; ++next) rows.push_back(*next - start);
    const float* hidden = forwardPass_.run(session, count, rows, cancelled);
    if (!rows.empty()) onHidden(static_cast<int64_t>(rows.size()), hidden);
  }
}

void Model::evaluate(Session& session, int64_t keep, const std::vector<uint32_t>& tokens,
                     const std::vector<int64_t>& positions, float* out,
                     const CancelFlag* cancelled) {
  if (tokens.empty()) throw Error(code::kInvalidArgument, "Expected at least one token");
  struct Row {
    int64_t position;  // in the session
    size_t index;      // of the row in `out`
  };
  std::vector<Row> rows;
  rows.reserve(positions.size());
  for (const int64_t position : positions) {
    if (position < 0 || position >= static_cast<int64_t>(tokens.size())) {
      throw Error(code::kInvalidArgument, "Expected positions below " +
                                              std::to_string(tokens.size()) + " but received " +
                                              std::to_string(position));
    }
    rows.push_back({keep + position, rows.size()});
  }
  // In the order of the positions, since that is the order in which hidden states come.
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.position < b.position; });
  std::vector<int64_t> asked;
  asked.reserve(rows.size());
  for (const Row& row : rows) {
    if (asked.empty() || asked.back() != row.position) asked.push_back(row.position);
  }
  append(session, keep, tokens);

  const auto width = static_cast<size_t>(weights_.hyperparameters().embeddingLength);
  const auto vocabSize = static_cast<size_t>(weights_.hyperparameters().vocabSize);
  std::vector<float> logits;  // of one pass of the head
  auto row = rows.begin();
  const auto onHidden = [&](int64_t total, const float* hidden) {
    for (int64_t first = 0; first < total; first += ForwardPass::kHeadRows) {
      const int64_t count = std::min(total - first, ForwardPass::kHeadRows);
      logits.resize(static_cast<size_t>(count) * vocabSize);
      forwardPass_.logits(hidden + static_cast<size_t>(first) * width, count, logits.data(),
                          cancelled);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t position = row->position;
        for (; row != rows.end() && row->position == position; ++row) {
          std::copy_n(logits.data() + static_cast<size_t>(i) * vocabSize, vocabSize,
                      out + row->index * vocabSize);
        }
      }
    }
  };
  evaluatePending(session, asked, onHidden, cancelled);
}

Generation Model::generate(Session& session, int64_t keep, const std::vector<uint32_t>& prompt,
                           const GenerateOptions& options,
                           const std::function<void(uint32_t)>& onToken,
                           const CancelFlag* cancelled) {
  const Clock::time_point start = Clock::now();
  append(session, keep, prompt);
  if (session.length() == 0) throw Error(code::kInvalidArgument, "Expected at least one token");
  // The last token's hidden state is needed, and the cache does not hold it.
  session.markEvaluated(std::min(session.evaluated(), session.length() - 1));

  Generation result;
  result.promptTokens = session.length();
  result.cachedTokens = session.evaluated();

  const auto vocabSize = static_cast<size_t>(weights_.hyperparameters().vocabSize);
  Sampler sampler(options.sampling);
  std::vector<float> logits(vocabSize);
  while (result.completionTokens < options.maxTokens && session.length() < contextLength_) {
    const float* last = nullptr;
    evaluatePending(
        session, {session.length() - 1}, [&](int64_t, const float* hidden) { last = hidden; },
        cancelled);
    if (result.completionTokens == 0) result.promptMilliseconds = millisecondsSince(start);
    forwardPass_.logits(last, 1, logits.data(), cancelled);
    const uint32_t token = sampler.sample(logits.data(), vocabSize);
    if (result.completionTokens == 0) result.firstTokenMilliseconds = millisecondsSince(start);
    if (token == endOfText_) {
      result.finishReason = FinishReason::kEndOfText;
      break;
    }
    session.append(token);
    session.cache().reserve(session.length(), session.evaluated());
    ++result.completionTokens;
    onToken(token);
  }
  result.totalMilliseconds = millisecondsSince(start);
  return result;
}

}  // namespace gpt2
