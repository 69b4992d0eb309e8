#include "serving/scheduler.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace gpt2 {

Scheduler::Scheduler(std::shared_ptr<Model> model, WorkerThread& worker)
    : model_(std::move(model)), worker_(worker) {}

void Scheduler::submit(std::shared_ptr<CancelFlag> cancelled, std::shared_ptr<Request> request,
                       OnEnd onEnd) {
  Entry entry{std::move(cancelled), std::move(request), std::move(onEnd)};
  worker_.post(entry.cancelled, [this, entry](const CancelFlag&) { begin(entry); });
}

void Scheduler::begin(const Entry& entry) {
  // The session of a cancelled request may have received its next request already.
  failCancelled();
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

// A request that is alone can cancel its pass. If others have joined by then, the pass is repeated
// for them. A cancelled request among several ends after the pass.
void Scheduler::postPass() {
  if (passIsPosted_) return;
  worker_.post(entries_.size() == 1 ? entries_[0].cancelled : std::make_shared<CancelFlag>(false),
               [this](const CancelFlag& cancelled) { pass(cancelled); });
  passIsPosted_ = true;
}

void Scheduler::pass(const CancelFlag& cancelled) {
  passIsPosted_ = false;
  failCancelled();
  endDone();
  std::vector<Request*> requests;
  try {
    requests = nextPass();
    if (!cancelled && !requests.empty()) evaluate(*model_, requests, &cancelled);
  } catch (const Error& error) {
    // A cancelled pass is repeated for the requests that remain.
    if (std::string_view(error.code()) != code::kAborted) failAll(requests);
  } catch (...) {
    failAll(requests);
  }
  failCancelled();
  endDone();
  if (entries_.empty()) return;
  try {
    postPass();
  } catch (...) {
    failAll({});
    endDone();
  }
}

void Scheduler::failAll(const std::vector<Request*>& requests) noexcept {
  const std::exception_ptr failure = std::current_exception();
  for (Request* request : requests) request->fail(failure);
  if (!requests.empty()) return;
  for (Entry& entry : entries_) {
    if (!entry.request->failure() && !entry.request->isFinished()) entry.request->fail(failure);
  }
}

std::vector<Request*> Scheduler::nextPass() {
  std::vector<Request*> decoding;
  std::vector<Request*> prefilling;
  for (const Entry& entry : entries_) {
    Request* request = entry.request.get();
    (request->pending() > kMaxDecodeTokens ? prefilling : decoding).push_back(request);
  }
  // Those that did not fit the last pass come first.
  const auto first = std::find(decoding.begin(), decoding.end(), firstDecoding_);
  std::rotate(decoding.begin(), first, decoding.end());
  int64_t room = ForwardPass::kMaxBatchTokens;
  const int64_t reserved = prefilling.empty() ? 0 : kPrefillTokens;
  std::vector<Request*> requests;
  firstDecoding_ = nullptr;
  for (Request* request : decoding) {
    if (request->pending() > room - reserved) {
      firstDecoding_ = request;
      break;
    }
    requests.push_back(request);
    room -= request->pending();
  }
  for (auto request = prefilling.begin(); request != prefilling.end() && room > 0; ++request) {
    requests.push_back(*request);
    room -= std::min(room, (*request)->pending());
  }
  return requests;
}

void Scheduler::failCancelled() {
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
