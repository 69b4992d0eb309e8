// AVX2, FMA and F16C: Haswell and Zen, or newer.
#define GPT2_LEVEL avx2
#define GPT2_LEVEL_NAME "avx2"
#include "kernels/levels/level.h"
