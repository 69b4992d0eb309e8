// Opens any bytes as a GGUF file, mapped and read. They open or are rejected as INVALID_FILE. Every
// byte of a file that opens can be read, and both ways have the same result.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>

#include "base/error.h"
#include "gguf/model_files.h"
#include "gguf/vocabulary.h"
#include "memory_file.h"

using gpt2::GgufFile;
using gpt2::MetadataValue;
using gpt2::ModelFiles;
using gpt2::TensorInfo;

namespace {

template <typename Bytes>
uint64_t sum(const Bytes& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
}

// Returns a line for each value and tensor of the file.
std::string visit(const ModelFiles& files) {
  const GgufFile& file = files.first();
  std::string text;
  for (const auto& [key, value] : file.metadata()) {
    if (file.find(key) != &value) std::abort();
    text += key + " " + std::to_string(value.number().value_or(0));
    if (const auto whole = value.string()) text += *whole;
    value.forEachString([&](std::string_view part) { text += " " + std::to_string(sum(part)); });
    text += "\n";
  }
  for (const TensorInfo& tensor : file.tensors()) {
    if (files.findTensor(tensor.name) != &tensor) std::abort();
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.data), tensor.byteSize);
    text += tensor.name + " " + ggml_type_name(tensor.type) + " " + std::to_string(sum(bytes));
    text += "\n";
  }
  constexpr uint64_t kAnySize = 100'000;
  if (const auto vocabulary = gpt2::summarizeVocabulary(file, kAnySize)) {
    text += vocabulary->fingerprint;
    if (!vocabulary->added) return text;
    for (const gpt2::AddedToken& token : *vocabulary->added) {
      text += " " + std::to_string(token.id) + " " + std::to_string(token.kind) + token.text;
    }
  }
  return text;
}

std::string outcome(const std::string& path, bool map) {
  try {
    return visit(ModelFiles(path, map));
  } catch (const gpt2::Error& error) {
    if (std::strcmp(error.code(), gpt2::code::kInvalidFile) != 0) throw;
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const gpt2::fuzz::MemoryFile file;
  file.write(data, size);
  if (outcome(file.path(), true) != outcome(file.path(), false)) std::abort();
  return 0;
}
