// With matrix products of bytes: Armv8.6 (Graviton 3, Ampere One, Apple M2) or newer.
#define GPT2_LEVEL neon_i8mm
#define GPT2_LEVEL_NAME "neon-i8mm"
#include "kernels/levels/level.h"
