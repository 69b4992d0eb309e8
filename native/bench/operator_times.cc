// Prints the time that each operator takes: for a prompt, for scoring all of its tokens, then for
// decoding single tokens after it, or for decoding several continuations of the prompt together,
// sampled at temperature 1.
//
//   operator_times <model.gguf> <threads> <tokens of the prompt> <tokens after it> [continuations]
//
// Times are measured on the thread that calls ThreadPool::run() and include its waiting for others.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "model/model.h"
#include "serving/evaluate_request.h"
#include "serving/generate_request.h"
#include "serving/score_request.h"

namespace {

struct Total {
  double milliseconds = 0;
  int steps = 0;
};

class Times {
 public:
  explicit Times(gpt2::Model& model) {
    model.device().threadPool().observe(
        [this](const gpt2::Step& step, std::chrono::nanoseconds time) {
          Total& total = totals_[step.name()];
          total.milliseconds += std::chrono::duration<double, std::milli>(time).count();
          ++total.steps;
        });
  }

  void print(const char* what, double milliseconds, int passes) {
    std::printf("%s: %.2f ms each\n", what, milliseconds / passes);
    double inside = 0;
    for (const auto& [name, total] : totals_) {
      inside += total.milliseconds;
      std::printf("  %-24s %8.3f ms %5.1f %%  %d steps\n", name.c_str(),
                  total.milliseconds / passes, 100 * total.milliseconds / milliseconds,
                  total.steps / passes);
    }
    std::printf("  %-24s %8.3f ms %5.1f %%\n", "other", (milliseconds - inside) / passes,
                100 * (milliseconds - inside) / milliseconds);
    totals_.clear();
  }

  void clear() { totals_.clear(); }

 private:
  std::map<std::string, Total> totals_;
};

// Returns milliseconds.
double evaluate(gpt2::Model& model, const std::shared_ptr<gpt2::Session>& session,
                const std::vector<uint32_t>& tokens) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<float> logits(static_cast<size_t>(model.weights().hyperparameters().vocabSize));
  gpt2::EvaluateRequest request(model, session, session->length(), tokens,
                                {static_cast<int64_t>(tokens.size()) - 1}, logits.data());
  request.begin();
  while (!request.isFinished()) evaluate(model, {&request}, nullptr);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// Returns milliseconds.
double score(gpt2::Model& model, const std::vector<uint32_t>& tokens) {
  const auto start = std::chrono::steady_clock::now();
  gpt2::ScoreRequest request(model, model.createSession(), 0, tokens, 0, tokens, 0, nullptr);
  request.begin();
  while (!request.isFinished()) evaluate(model, {&request}, nullptr);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

void continueTogether(gpt2::Model& model, Times& times, const std::vector<uint32_t>& prompt,
                      int count, int tokens) {
  std::vector<std::shared_ptr<gpt2::GenerateRequest>> owners;
  std::vector<gpt2::Request*> requests;
  for (int i = 0; i < count; ++i) {
    gpt2::GenerateOptions options;
    options.maxTokens = tokens;
    options.seed = static_cast<uint64_t>(i);
    const std::shared_ptr<gpt2::Session> session = model.createSession();
    evaluate(model, session, prompt);
    owners.push_back(std::make_shared<gpt2::GenerateRequest>(model, session, session->length(),
                                                             std::vector<uint32_t>{}, options,
                                                             [](gpt2::NewToken&&) {}));
    owners.back()->begin();
    requests.push_back(owners.back().get());
  }
  times.clear();
  const auto start = std::chrono::steady_clock::now();
  int passes = 0;
  for (; passes < tokens && !requests.empty(); ++passes) {
    evaluate(model, requests, nullptr);
    // A request is finished after the end of text, or when its context is full.
    requests.erase(
        std::remove_if(requests.begin(), requests.end(),
                       [](const gpt2::Request* request) { return request->isFinished(); }),
        requests.end());
  }
  times.print(
      "a token of each continuation",
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count(),
      std::max(passes, 1));
}

int whole(const char* text) {
  constexpr int kDecimal = 10;
  return static_cast<int>(std::strtol(text, nullptr, kDecimal));
}

}  // namespace

int main(int count, char** arguments) {
  constexpr int kArguments = 5;  // and an optional one
  if (count != kArguments && count != kArguments + 1) {
    static_cast<void>(std::fputs(
        "usage: operator_times <model.gguf> <threads> <prompt> <after> [continuations]\n", stderr));
    return 2;
  }
  gpt2::ModelOptions options;
  options.device = "cpu";
  options.threads = whole(arguments[2]);
  options.sharesPrefixes = false;  // every prompt is evaluated
  gpt2::Model model(arguments[1], options);
  std::vector<uint32_t> prompt(static_cast<size_t>(whole(arguments[3])));
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<uint32_t>(i * 97 % 50000);

  Times times(model);
  evaluate(model, model.createSession(), prompt);  // warms up caches and memory
  times.clear();
  const std::shared_ptr<gpt2::Session> session = model.createSession();
  times.print("prompt", evaluate(model, session, prompt), 1);

  score(model, prompt);
  times.clear();
  times.print("scoring the prompt", score(model, prompt), 1);

  const int after = whole(arguments[4]);
  if (count > kArguments) {
    continueTogether(model, times, prompt, whole(arguments[kArguments]), after);
    return 0;
  }
  double milliseconds = 0;
  for (int i = 0; i < after; ++i) {
    milliseconds += evaluate(model, session, {static_cast<uint32_t>(i)});
  }
  times.print("a token", milliseconds, after);
  return 0;
}
