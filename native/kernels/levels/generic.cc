// Other architectures: vectors as the compiler makes them.
#define GPT2_LEVEL generic
#define GPT2_LEVEL_NAME "generic"
#include "kernels/levels/level.h"
