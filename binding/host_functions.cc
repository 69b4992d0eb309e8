// The functions of Node-API on Windows, for compilers without an import library of Node. They are
// exports of the program that runs, whatever it is called: node.exe, electron.exe, the name of a
// single executable.

#include <windows.h>

// A function that is declared as dllimport is called through a pointer of this name.
// host_functions.inc, which CMake writes, names all functions of node_api.def.
#define HOST_FUNCTION(name) extern "C" void* __imp_##name;
#include "host_functions.inc"
#undef HOST_FUNCTION
#define HOST_FUNCTION(name) void* __imp_##name = nullptr;
#include "host_functions.inc"
#undef HOST_FUNCTION

namespace {

bool findFunctions() {
  const HMODULE program = GetModuleHandleW(nullptr);
#define HOST_FUNCTION(name) __imp_##name = reinterpret_cast<void*>(GetProcAddress(program, #name));
#include "host_functions.inc"
#undef HOST_FUNCTION
  return true;
}

// When the addon is loaded, before Node calls it.
[[maybe_unused]] const bool kIsFound = findFunctions();

}  // namespace
