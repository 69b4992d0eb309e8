#include "scheduler.h"

#include <string>
#include <utility>

#include "error.h"

namespace gpt2 {

namespace {

int64_t pending(const Request& request) {
  return request.session().length() - request.session().evaluated();
}

}  // namespace

Scheduler::Scheduler(std::shared_ptr<Model> model, Engine& engine)
    : model_(std::move(model)), engine_(engine) {}

void Scheduler::submit(std::shared_ptr<CancelFlag> cancelled, std::shared_ptr<Request> request,
                       OnEnd onEnd) {
  Entry entry{std::move(cancelled), std::move(request), std::move(onEnd)};
  engine_.post(entry.cancelled, [this, entry](const CancelFlag&) { begin(entry); });
}

void Scheduler::begin(const Entry& entry) {
  // A session whose call was aborted may have been given its next one.
  failAborted();
  endDone();
  Request& request = *entry.request;
  try {
    throwIfCancelled(entry.cancelled.get());
    for (const Entry& other : entries_) {
      if (&other.request->session() == &request.session()) {
        throw Error(code::kInternal, "two requests on one session");
      }
    }
    request.begin();
    if (!request.isFinished()) {
      entries_.push_back(entry);
      try {
        postPass();
        return;
      } catch (...) {
        entries_.pop_back();
        throw;
      }
    }
  } catch (...) {
    request.fail(std::current_exception());
  }
  entry.onEnd(request);
}

// The flag of a request that is alone stops its pass; of several, each ends after the pass.
void Scheduler::postPass() {
  if (passIsPosted_) return;
  engine_.post(entries_.size() == 1 ? entries_[0].cancelled : std::make_shared<CancelFlag>(false),
               [this](const CancelFlag& cancelled) { pass(cancelled); });
  passIsPosted_ = true;
}

void Scheduler::pass(const CancelFlag& cancelled) {
  passIsPosted_ = false;
  failAborted();
  endDone();
  const std::vector<Request*> requests = nextPass();
  try {
    if (!cancelled && !requests.empty()) model_->advance(requests, &cancelled);
  } catch (const Error& error) {
    // What was stopped is done again, for those that remain.
    if (std::string(error.code()) != code::kAborted) {
      for (Request* request : requests) request->fail(std::current_exception());
    }
  } catch (...) {
    for (Request* request : requests) request->fail(std::current_exception());
  }
  failAborted();
  endDone();
  if (entries_.empty()) return;
  try {
    postPass();
  } catch (...) {
    for (Entry& entry : entries_) entry.request->fail(std::current_exception());
    endDone();
  }
}

std::vector<Request*> Scheduler::nextPass() {
  std::vector<Request*> few;
  int64_t fewTokens = 0;
  Request* many = nullptr;
  for (const Entry& entry : entries_) {
    const int64_t count = pending(*entry.request);
    if (count > ForwardPass::kFewTokens) {
      if (many == nullptr) many = entry.request.get();
    } else if (fewTokens + count <= ForwardPass::kSliceLength) {
      few.push_back(entry.request.get());
      fewTokens += count;
    }
  }
  const bool isManysTurn = many != nullptr && (few.empty() || lastWasFew_);
  lastWasFew_ = !isManysTurn;
  return isManysTurn ? std::vector<Request*>{many} : few;
}

void Scheduler::failAborted() {
  for (Entry& entry : entries_) {
    if (entry.request->failure() || entry.request->isFinished()) continue;
    try {
      throwIfCancelled(entry.cancelled.get());
    } catch (...) {
      entry.request->fail(std::current_exception());
    }
  }
}

void Scheduler::endDone() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->request->failure() || entry->request->isFinished()) {
      entry->onEnd(*entry->request);
      entry = entries_.erase(entry);
    } else {
      ++entry;
    }
  }
}

}  // namespace gpt2
