// As avx2, with dot products of bytes: Alder Lake, or newer.
#define GPT2_LEVEL avx_vnni
#define GPT2_LEVEL_NAME "avx-vnni"
#include "kernels/levels/level.h"
