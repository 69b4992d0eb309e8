#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace gpt2 {

// Error codes, whose meaning never changes. docs/errors.md describes each.
namespace code {
inline constexpr const char* kFileNotFound = "FILE_NOT_FOUND";
inline constexpr const char* kFileUnreadable = "FILE_UNREADABLE";
inline constexpr const char* kFileUnwritable = "FILE_UNWRITABLE";
inline constexpr const char* kInvalidFile = "INVALID_FILE";
inline constexpr const char* kUnsupportedModel = "UNSUPPORTED_MODEL";
inline constexpr const char* kInvalidArgument = "INVALID_ARGUMENT";
inline constexpr const char* kTokenOutOfRange = "TOKEN_OUT_OF_RANGE";
inline constexpr const char* kTokenizerMissing = "TOKENIZER_MISSING";
inline constexpr const char* kContextOverflow = "CONTEXT_OVERFLOW";
inline constexpr const char* kDeviceUnavailable = "DEVICE_UNAVAILABLE";
inline constexpr const char* kOutOfMemory = "OUT_OF_MEMORY";
inline constexpr const char* kNotFinite = "NOT_FINITE";
inline constexpr const char* kAborted = "ABORTED";
inline constexpr const char* kDisposed = "DISPOSED";
inline constexpr const char* kAddonMismatch = "ADDON_MISMATCH";
inline constexpr const char* kInternal = "INTERNAL";
}  // namespace code

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}

  const char* code() const noexcept { return code_; }

 private:
  const char* code_;
};

}  // namespace gpt2
