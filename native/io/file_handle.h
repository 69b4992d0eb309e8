#pragma once

namespace gpt2 {

// An open file: a file descriptor or, on Windows, a HANDLE.
#ifdef _WIN32
using FileHandle = void*;
#else
using FileHandle = int;
#endif

}  // namespace gpt2
