#pragma once

namespace gpt2 {

// The system's number of an open file; Windows calls it HANDLE.
#ifdef _WIN32
using FileHandle = void*;
#else
using FileHandle = int;
#endif

}  // namespace gpt2
