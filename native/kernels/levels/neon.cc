// Every arm64 processor.
#define GPT2_LEVEL neon
#define GPT2_LEVEL_NAME "neon"
#include "kernels/levels/level.h"
