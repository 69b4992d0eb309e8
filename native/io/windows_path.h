#pragma once

// For Windows only, whose paths are UTF-16. The engine's are UTF-8.

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <string>

namespace gpt2 {

inline std::wstring toWindowsPath(const std::string& utf8) {
  const auto size = static_cast<int>(utf8.size());
  const int length = MultiByteToWideChar(CP_UTF8, 0, utf8.data(), size, nullptr, 0);
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, utf8.data(), size, wide.data(), length);
  return wide;
}

inline std::string windowsReason(DWORD error) { return "Windows error " + std::to_string(error); }

}  // namespace gpt2
