#include "gguf/gpt2_tensors.h"

#include <algorithm>
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

bool isMaskBuffer(std::string_view name) {
  const auto skip = [&](std::string_view start) {
    const bool starts = name.substr(0, start.size()) == start;
    if (starts) name.remove_prefix(start.size());
    return starts;
  };
  skip("transformer.");
  if (!skip("h.") && !skip("blk.")) return false;
  const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0) return false;
  name.remove_prefix(digits);
  return name == ".attn.bias" || name == ".attn.masked_bias";
}

}  // namespace gpt2
