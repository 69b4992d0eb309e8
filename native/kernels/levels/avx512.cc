// AVX-512 with VNNI: Cascade Lake and Zen 4, or newer.
#define GPT2_LEVEL avx512
#define GPT2_LEVEL_NAME "avx512"
#include "kernels/levels/level.h"
