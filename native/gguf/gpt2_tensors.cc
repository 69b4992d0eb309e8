#include "gguf/gpt2_tensors.h"

#include <string_view>

namespace gpt2 {

namespace {

std::string nameIn(const Gpt2Module& module, int64_t layer) {
  constexpr std::string_view kPlaceholder = "{}";
  std::string name = module.name;
  const size_t at = name.find(kPlaceholder);
  if (at != std::string::npos) name.replace(at, kPlaceholder.size(), std::to_string(layer));
  return name;
}

}  // namespace

std::string weightName(const Gpt2Module& module, int64_t layer) {
  return nameIn(module, layer) + ".weight";
}

std::string biasName(const Gpt2Module& module, int64_t layer) {
  return nameIn(module, layer) + ".bias";
}

}  // namespace gpt2
