// quantize SOURCE TARGET TYPE: runs llama.cpp's quantiser, from the library that node-llama-cpp
// installs.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// The first fields of llama.h's llama_model_quantize_params, and space for the rest. It is only
// passed by address, so it may be larger than the library's struct.
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
