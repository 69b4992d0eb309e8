#pragma once

#include <ggml.h>

#include <functional>
#include <string>

namespace gpt2 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Receives one line without its line break, on the thread that wrote it.
using Logger = std::function<void(LogLevel, const std::string&)>;

// Sends ggml's log to the logger of the thread that writes, instead of to stderr.
void redirectLog();

// Sets the logger of this thread while the object lives; one at a time. The lines of a thread
// without a logger are dropped. ggml has one log for the whole process, so the thread alone
// identifies the model that a line belongs to.
class LogScope {
 public:
  explicit LogScope(Logger logger);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  void write(ggml_log_level level, const char* text);

 private:
  Logger logger_;
  LogLevel level_ = LogLevel::kInfo;
  std::string unfinished_;  // the start of a line that ggml has not ended
};

}  // namespace gpt2
