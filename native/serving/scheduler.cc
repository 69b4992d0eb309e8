#include "serving/scheduler.h"

#include <algorithm>
#include <new>
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

Scheduler::~Scheduler() {
  for (const Entry& entry : entries_) {
    entry.request->fail(std::make_exception_ptr(Error(code::kAborted, "the model was disposed")));
  }
  endDone();
}

void Scheduler::resume(std::shared_ptr<const Session> session, HostReply reply) {
  worker_.post(
      std::make_shared<CancelFlag>(false),
      [this, session = std::move(session), reply = std::make_shared<HostReply>(std::move(reply))](
          const CancelFlag&) { resumeNow(*session, *reply); });
}

void Scheduler::wake() {
  worker_.post(std::make_shared<CancelFlag>(false), [this](const CancelFlag&) { endCancelled(); });
}

void Scheduler::endCancelled() {
  failCancelled();
  // Those that waited for memory may have it now.
  if (endDone() && !entries_.empty()) postPassOrFail();
}

void Scheduler::resumeNow(const Session& session, HostReply& reply) {
  failCancelled();
  for (const Entry& entry : entries_) {
    Request& request = *entry.request;
    if (&request.session() != &session || request.failure()) continue;
    try {
      request.resume(std::move(reply));
    } catch (...) {
      request.fail(std::current_exception());
    }
    break;
  }
  endDone();
  if (!entries_.empty()) postPassOrFail();
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
      const size_t count = entries_.size() + 1;
      for (auto* list : {&decoding_, &prefilling_, &next_}) list->reserve(count);
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
  worker_.post(entries_.size() == 1 ? entries_[0].cancelled : stopped_,
               [this](const CancelFlag& cancelled) { pass(cancelled); });
  passIsPosted_ = true;
}

void Scheduler::pass(const CancelFlag& cancelled) {
  passIsPosted_ = false;
  failCancelled();
  endDone();
  try {
    admit();
    planPass();
    if (!cancelled && !next_.empty()) evaluateNext(cancelled);
  } catch (const Error& error) {
    // A cancelled pass is repeated for the requests that remain.
    if (std::string_view(error.code()) != code::kAborted) failAll(next_);
  } catch (...) {
    failAll(next_);
  }
  failCancelled();
  const bool anyEnded = endDone();
  // Without tokens to evaluate, all requests wait for the host, or for the memory of those that do.
  if (!entries_.empty() && (!next_.empty() || anyEnded)) postPassOrFail();
}

void Scheduler::postPassOrFail() {
  try {
    postPass();
  } catch (...) {
    next_.clear();
    for (const Entry& entry : entries_) next_.push_back(entry.request.get());
    failAll(next_);
    endDone();
  }
}

void Scheduler::failAll(const std::vector<Request*>& requests) noexcept {
  const std::exception_ptr failure = std::current_exception();
  for (Request* request : requests) {
    if (!request->failure()) request->fail(failure);
  }
}

void Scheduler::admit() {
  int64_t reserved = 0;  // blocks that ready requests may still take
  for (Entry& entry : entries_) {
    Request& request = *entry.request;
    if (!entry.isReady) {
      const bool isFirst = &entry == &entries_.front();
      request.session().setInUse(true);
      entry.isReady = model_->cacheMemory().makeRoom(reserved + request.missingBlocks()) || isFirst;
      if (!entry.isReady) {
        request.session().setInUse(false);
        return;
      }
    }
    reserved += request.missingBlocks();
  }
}

void Scheduler::evaluateNext(const CancelFlag& cancelled) {
  try {
    return evaluate(*model_, next_, &cancelled);
  } catch (const std::bad_alloc&) {
    if (next_.size() == 1) throw;
  } catch (const Error& error) {
    if (next_.size() == 1 || std::string_view(error.code()) != code::kOutOfMemory) throw;
  }
  for (Request* request : next_) {
    try {
      if (!request->failure() && !request->isFinished()) evaluate(*model_, {request}, &cancelled);
    } catch (const Error& error) {
      if (std::string_view(error.code()) == code::kAborted) throw;
      request->fail(std::current_exception());
    } catch (...) {
      request->fail(std::current_exception());
    }
  }
}

void Scheduler::planPass() {
  for (auto* list : {&decoding_, &prefilling_, &next_}) list->clear();
  for (const Entry& entry : entries_) {
    if (!entry.isReady) break;
    Request* request = entry.request.get();
    if (request->isWaiting()) continue;
    (request->pending() > kMaxDecodeTokens ? prefilling_ : decoding_).push_back(request);
  }
  // Those that did not fit the last pass come first.
  const auto first = std::find(decoding_.begin(), decoding_.end(), firstDecoding_);
  std::rotate(decoding_.begin(), first, decoding_.end());
  int64_t room = ForwardPass::kMaxBatchTokens;
  const int64_t reserved = prefilling_.empty() ? 0 : kPrefillTokens;
  firstDecoding_ = nullptr;
  for (Request* request : decoding_) {
    if (request->pending() > room - reserved) {
      firstDecoding_ = request;
      break;
    }
    next_.push_back(request);
    room -= request->pending();
  }
  const auto prompts = static_cast<std::ptrdiff_t>(next_.size());
  for (auto it = prefilling_.begin(); it != prefilling_.end() && room > 0; ++it) {
    Request* prompt = *it;
    prompt->adoptPrefix();
    const auto sharesBlock = [&](const Request* other) {
      return prompt->sharesNextBlockWith(*other);
    };
    if (std::any_of(next_.begin() + prompts, next_.end(), sharesBlock)) continue;
    next_.push_back(prompt);
    room -= std::min(room, prompt->pending());
  }
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

bool Scheduler::endDone() {
  const size_t before = entries_.size();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->request->failure() || entry->request->isFinished()) {
      if (entry->isReady) entry->request->session().setInUse(false);
      entry->onEnd(*entry->request);
      entry = entries_.erase(entry);
    } else {
      ++entry;
    }
  }
  return entries_.size() < before;
}

}  // namespace gpt2
