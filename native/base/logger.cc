#include "base/logger.h"

#include <ggml.h>

#include <mutex>
#include <utility>

namespace gpt2 {

namespace {

thread_local LogScope* current = nullptr;

LogLevel toLogLevel(ggml_log_level level) {
  switch (level) {
    case GGML_LOG_LEVEL_ERROR:
      return LogLevel::kError;
    case GGML_LOG_LEVEL_WARN:
      return LogLevel::kWarning;
    case GGML_LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    default:
      return LogLevel::kInfo;
  }
}

}  // namespace

void redirectLog() {
  static std::once_flag once;
  std::call_once(once, [] {
    ggml_log_set(
        [](ggml_log_level level, const char* text, void*) {
          if (current == nullptr) return;
          try {
            current->write(level, text);
          } catch (const std::exception&) {
            // No memory for the line. Exceptions must not unwind ggml's C code.
          }
        },
        nullptr);
  });
}

LogScope::LogScope(Logger logger) : logger_(std::move(logger)) { current = this; }

LogScope::~LogScope() { current = nullptr; }

// ggml writes a line in one or several pieces. Only the first carries the level.
void LogScope::write(ggml_log_level level, const char* text) {
  if (!logger_) return;
  if (level != GGML_LOG_LEVEL_CONT) level_ = toLogLevel(level);
  for (; *text != '\0'; ++text) {
    if (*text != '\n') {
      unfinished_ += *text;
      continue;
    }
    const std::string line = std::exchange(unfinished_, {});
    logger_(level_, line);
  }
}

}  // namespace gpt2
