// Log lines are complete, and each reaches the logger of the thread that wrote it.

#include "base/logger.h"

#include <ggml.h>
#include <gguf.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "serving/worker_thread.h"
#include "temporary_file.h"

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

using gpt2::CancelFlag;
using gpt2::Logger;
using gpt2::LogLevel;
using gpt2::LogScope;
using gpt2::redirectLog;
using gpt2::WorkerThread;
using gpt2::test::TemporaryFile;

namespace {

// The lines that a logger received, each after the first letter of its level.
class Lines {
 public:
  Logger logger() {
    return [this](LogLevel level, const std::string& line) {
      constexpr char kLetters[] = {'D', 'I', 'W', 'E'};
      received.push_back(kLetters[static_cast<size_t>(level)] + (" " + line));
    };
  }

  std::vector<std::string> received;
};

using Received = std::vector<std::string>;

// Writes as ggml does, through the callback that was set.
void write(ggml_log_level level, const char* text) {
  ggml_log_callback callback = nullptr;
  void* data = nullptr;
  ggml_log_get(&callback, &data);
  callback(level, text, data);
}

}  // namespace

TEST(receivesWholeLinesWithTheirLevels) {
  redirectLog();
  Lines lines;
  const LogScope scope(lines.logger());
  write(GGML_LOG_LEVEL_DEBUG, "one\n");
  write(GGML_LOG_LEVEL_INFO, "two\n");
  write(GGML_LOG_LEVEL_WARN, "three\n");
  write(GGML_LOG_LEVEL_ERROR, "four\n");
  write(GGML_LOG_LEVEL_NONE, "five\n");
  CHECK(lines.received == (Received{"D one", "I two", "W three", "E four", "I five"}));
}

TEST(receivesALineInPiecesOnceItEnds) {
  redirectLog();
  Lines lines;
  const LogScope scope(lines.logger());
  write(GGML_LOG_LEVEL_WARN, "loading ");
  write(GGML_LOG_LEVEL_CONT, ".");
  write(GGML_LOG_LEVEL_CONT, "");
  write(GGML_LOG_LEVEL_CONT, ". done");
  CHECK(lines.received.empty());
  write(GGML_LOG_LEVEL_CONT, "\n");
  CHECK(lines.received == Received{"W loading .. done"});
  write(GGML_LOG_LEVEL_CONT, "the same level\n");
  write(GGML_LOG_LEVEL_DEBUG, "another\n");
  CHECK(lines.received == (Received{"W loading .. done", "W the same level", "D another"}));
}

TEST(receivesSeveralLinesOfOnePieceOneByOne) {
  redirectLog();
  Lines lines;
  const LogScope scope(lines.logger());
  write(GGML_LOG_LEVEL_ERROR, "one\ntwo\n\nfour");
  CHECK(lines.received == (Received{"E one", "E two", "E "}));
  write(GGML_LOG_LEVEL_CONT, " and a half\nfive\n");
  CHECK(lines.received == (Received{"E one", "E two", "E ", "E four and a half", "E five"}));
}

TEST(anEmptyLoggerIsNeverCalled) {
  redirectLog();
  LogScope empty{Logger()};
  write(GGML_LOG_LEVEL_INFO, "no logger receives this\n");
  empty.write(GGML_LOG_LEVEL_INFO, "nor this, and nothing is thrown\n");
}

TEST(linesAfterTheScopeAreDropped) {
  redirectLog();
  Lines lines;
  { const LogScope scope(lines.logger()); }
  write(GGML_LOG_LEVEL_INFO, "too late\n");
  CHECK(lines.received.empty());
}

// ggml is C: an exception of a logger must not pass through it.
TEST(aLoggerMayThrow) {
  redirectLog();
  int calls = 0;
  const LogScope scope([&](LogLevel, const std::string& line) {
    ++calls;
    throw std::runtime_error(line);
  });
  write(GGML_LOG_LEVEL_INFO, "one\n");
  write(GGML_LOG_LEVEL_INFO, "two\n");
  CHECK_EQUAL(calls, 2);
}

TEST(eachThreadHasItsOwnScope) {
  redirectLog();
  constexpr size_t kLines = 2000;
  std::atomic<int> scopes{0};
  const auto work = [&](Lines& lines, const std::string& name) {
    const LogScope scope(lines.logger());
    ++scopes;
    while (scopes < 2) std::this_thread::yield();
    for (size_t i = 0; i < kLines; ++i) {
      write(GGML_LOG_LEVEL_INFO, (name + " ").c_str());
      write(GGML_LOG_LEVEL_CONT, (std::to_string(i) + "\n").c_str());
    }
  };
  Lines first;
  Lines second;
  Lines own;
  const LogScope scope(own.logger());
  std::thread thread([&] { work(first, "first"); });
  work(second, "second");
  thread.join();
  CHECK_EQUAL(first.received.size(), kLines);
  CHECK_EQUAL(second.received.size(), kLines);
  CHECK(own.received.empty());
  for (size_t i = 0; i < kLines; ++i) {
    CHECK_EQUAL(first.received[i], "I first " + std::to_string(i));
    CHECK_EQUAL(second.received[i], "I second " + std::to_string(i));
  }
}

#ifndef _WIN32
TEST(linesOfAThreadWithoutAScopeAreDropped) {
  redirectLog();
  Lines lines;
  const LogScope scope(lines.logger());
  const TemporaryFile errors("");
  std::fflush(stderr);
  const int before = dup(STDERR_FILENO);
  const int file = open(errors.path().c_str(), O_WRONLY);
  dup2(file, STDERR_FILENO);
  std::thread([] { write(GGML_LOG_LEVEL_ERROR, "dropped\n"); }).join();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  close(file);
  CHECK(lines.received.empty());
  CHECK_EQUAL(std::filesystem::file_size(errors.path()), 0U);
}
#else
TEST(linesOfAThreadWithoutAScopeAreDropped) { SKIP("needs dup2"); }
#endif

TEST(aWorkerReceivesLinesThatItsJobsWrite) {
  redirectLog();
  Lines lines;
  Lines others;
  WorkerThread other(others.logger());
  {
    WorkerThread worker(lines.logger());
    const TemporaryFile missing;
    std::promise<void> done;
    worker.post(std::make_shared<CancelFlag>(false), [&](const CancelFlag&) {
      gguf_init_from_file(missing.path().c_str(), {true, nullptr});
      write(GGML_LOG_LEVEL_WARN, "the last line\n");
      done.set_value();
    });
    done.get_future().wait();
    gguf_init_from_file(missing.path().c_str(),
                        {true, nullptr});  // on this thread, which has no logger
  }
  CHECK_EQUAL(lines.received.size(), 2U);
  CHECK(lines.received[0].rfind("E gguf_init_from_file: failed to open GGUF file", 0) == 0);
  CHECK_EQUAL(lines.received[1], "W the last line");
  CHECK(others.received.empty());
}

TEST(aWorkerReceivesLinesOfDestructors) {
  redirectLog();
  Lines lines;
  {
    WorkerThread worker(lines.logger());
    worker.release(std::shared_ptr<void>(
        &lines, [](void*) { write(GGML_LOG_LEVEL_INFO, "the model is gone\n"); }));
  }
  CHECK(lines.received == Received{"I the model is gone"});
}
