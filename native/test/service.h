#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "loaded_model.h"
#include "reference_model.h"
#include "serving/scheduler.h"
#include "serving/worker_thread.h"
#include "session_checks.h"
#include "temporary_file.h"

namespace gpt2::test {

// The model that the tests of a service run.
inline const ReferenceModel& reference() {
  static const ReferenceModel model({kVocabulary, 400, 32, 4, 2}, 5);
  return model;
}

// Its file, with the matrices in this type.
inline std::string fileOf(ggml_type type) {
  ReferenceModel model = reference();
  for (const auto& [name, tensor] : reference().tensors()) {
    if (tensor.out != 0 && type != GGML_TYPE_F32) model.encode(name, type);
  }
  return model.file();
}

// A model and its worker. Collects the outcome of each request.
class Service {
 public:
  explicit Service(const std::string& bytes, const ModelOptions& options = cpuOptions(2))
      : file_(bytes),
        model_(std::make_shared<Model>(file_.path(), options)),
        scheduler_(std::make_unique<Scheduler>(model_, worker_)) {}
  ~Service() { worker_.join(); }

  Model& model() { return *model_; }
  size_t vocabulary() const {
    return static_cast<size_t>(model_->weights().hyperparameters().vocabSize);
  }
  WorkerThread& worker() { return worker_; }
  std::shared_ptr<Session> newSession() { return model_->createSession(); }

  // The outcome of a request. Complete once `ended` is set.
  struct Call {
    std::shared_ptr<CancelFlag> cancelled = std::make_shared<CancelFlag>(false);
    std::vector<uint32_t> drawn;
    std::vector<float> logits;
    Generation generation;
    std::string failure;  // the error's code
    std::promise<void> ended;
    void wait() { ended.get_future().wait(); }
  };
  using CallPtr = std::shared_ptr<Call>;

  CallPtr evaluate(std::shared_ptr<Session> session, int64_t keep,
                   const std::vector<uint32_t>& tokens, const std::vector<int64_t>& positions) {
    auto call = std::make_shared<Call>();
    call->logits.resize(positions.size() * vocabulary());
    return submit(call, std::make_shared<EvaluateRequest>(*model_, std::move(session), keep, tokens,
                                                          positions, call->logits.data()));
  }
  CallPtr generate(
      std::shared_ptr<Session> session, int64_t keep, const std::vector<uint32_t>& prompt,
      const GenerateOptions& options, const std::function<void(Call&)>& onToken = [](Call&) {},
      GenerateRequest::OnHostStep onHostStep = {}) {
    auto call = std::make_shared<Call>();
    return submit(call, std::make_shared<GenerateRequest>(
                            *model_, std::move(session), keep, prompt, options,
                            [call = call.get(), onToken](NewToken&& token) {
                              call->drawn.push_back(token.token);
                              onToken(*call);
                            },
                            std::move(onHostStep)));
  }
  Scheduler& scheduler() { return *scheduler_; }

  // Blocks the worker until the returned promise is set, so that requests submitted meanwhile begin
  // together.
  std::promise<void> hold() {
    std::promise<void> go;
    worker_.post(std::make_shared<CancelFlag>(false),
                 [opened = go.get_future().share()](const CancelFlag&) { opened.wait(); });
    return go;
  }

 private:
  CallPtr submit(CallPtr call, std::shared_ptr<Request> request) {
    scheduler_->submit(call->cancelled, std::move(request), [call](Request& ended) {
      try {
        if (ended.failure()) std::rethrow_exception(ended.failure());
      } catch (const Error& error) {
        call->failure = error.code();
      } catch (const std::bad_alloc&) {
        call->failure = code::kOutOfMemory;  // as in the binding
      }
      if (const auto* generate = dynamic_cast<GenerateRequest*>(&ended)) {
        call->generation = generate->generation();
      }
      call->ended.set_value();
    });
    return call;
  }

  TemporaryFile file_;
  std::shared_ptr<Model> model_;
  WorkerThread worker_;
  std::unique_ptr<Scheduler> scheduler_;
};

// Counts the passes of a model: each has one attention per layer.
class Passes {
 public:
  explicit Passes(Model& model) : layers_(model.weights().layers().size()) {
    model.device().threadPool().observe([this](const Step& step, std::chrono::nanoseconds) {
      if (step.name() == "attention") ++steps_;
    });
  }
  size_t count() const { return steps_ / layers_; }

 private:
  size_t layers_;
  size_t steps_ = 0;
};

}  // namespace gpt2::test
