// SSE4.2: every processor that the library loads on.
#define GPT2_LEVEL x86_64_v2
#define GPT2_LEVEL_NAME "x86-64-v2"
#include "kernels/levels/level.h"
