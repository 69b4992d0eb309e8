// quantize SOURCE TARGET TYPE: llama.cpp's own quantiser, from the library that node-llama-cpp
// installs.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// The beginning of llama.h's llama_model_quantize_params, and room for the rest: the library only
// ever sees it by address, so that it may be larger than the library's.
struct Parameters {
  int32_t threads;
  int32_t type;
  char rest[1016];
};

struct Parameters llama_model_quantize_default_params(void);
uint32_t llama_model_quantize(const char* source, const char* target,
                              const struct Parameters* parameters);

int main(int count, char** arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: quantize SOURCE TARGET TYPE\n");
    return 2;
  }
  struct Parameters parameters = llama_model_quantize_default_params();
  parameters.threads = 2;
  parameters.type = atoi(arguments[3]);
  return llama_model_quantize(arguments[1], arguments[2], &parameters) == 0 ? 0 : 1;
}
