#pragma once

#include <ggml.h>

#include <functional>
#include <string>

namespace gpt2 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Hears one line, without its end; on the thread that wrote it.
using Logger = std::function<void(LogLevel, const std::string&)>;

// From now on ggml writes to the loggers of its threads and no longer to stderr.
void redirectLog();

// The logger of this thread as long as the object lives, one at a time; the lines of a thread
// without one are dropped. ggml has one log for the whole process, so the thread is what tells
// whose line it is.
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
  std::string unfinished_;  // what ggml has written of a line
};

}  // namespace gpt2
