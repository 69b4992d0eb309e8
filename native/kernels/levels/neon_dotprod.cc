// With dot products of bytes: Armv8.2 and Apple M1, or newer.
#define GPT2_LEVEL neon_dotprod
#define GPT2_LEVEL_NAME "neon-dotprod"
#include "kernels/levels/level.h"
