// Writes the first inputs of the fuzz targets: write_seeds <folder of the corpora>. The fuzzer
// derived the other files in that folder from these.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "gguf_builder.h"
#include "reference_model.h"

using gpt2::test::GgufBuilder;
using gpt2::test::raw;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;

namespace {

void write(const std::filesystem::path& folder, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / (name + ".gguf"), std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + name);
}

GgufBuilder oneOfEverything() {
  GgufBuilder builder;
  builder.string("general.architecture", "gpt2")
      .metadata("u8", 0, "\1")
      .metadata("i8", 1, "\1")
      .metadata("u16", 2, "\1\1")
      .metadata("i16", 3, "\1\1")
      .number("u32", 7U)
      .metadata("i32", 5, raw<int32_t>(-7))
      .number("f32", 1e-5F)
      .metadata("bool", 7, "\1")
      .metadata("u64", 10, raw<uint64_t>(7))
      .metadata("i64", 11, raw<int64_t>(-7))
      .metadata("f64", 12, raw(0.5))
      .array("bytes", 0, 3, "abc")
      .array("doubles", 12, 2, raw(std::vector<double>{1, 2}))
      .strings("tokenizer.ggml.tokens", {"one", "", "[PAD2]"})
      .number("general.alignment", 16U);
  builder.alignment = 16;
  return builder.tensor("vector", {5}, GGML_TYPE_F32, raw(std::vector<float>(5, 1)))
      .tensor("blocks", {32, 2}, GGML_TYPE_Q8_0, std::string(68, '\3'))
      .tensor("four", {3, 1, 2, 1}, GGML_TYPE_F16, raw(std::vector<uint16_t>(6, 0x3c00)));
}

// The smallest model with all matrices of one type, for types without blocks.
ReferenceModel modelOf(ggml_type type) {
  ReferenceShape shape{12, 8, 8, 2, 1};
  shape.inner = 8;
  ReferenceModel model(shape);
  model.encodeMatrices(type);
  return model;
}

// Each matrix has another type with blocks of 32.
ReferenceModel modelOfBlocks() {
  ReferenceShape shape{12, 8, 32, 2, 1};
  shape.inner = 32;
  ReferenceModel model(shape);
  model.encode("token_embd.weight", GGML_TYPE_Q8_0);
  model.encode("position_embd.weight", GGML_TYPE_Q4_1);
  model.encode("blk.0.attn_qkv.weight", GGML_TYPE_Q4_0);
  model.encode("blk.0.attn_output.weight", GGML_TYPE_Q5_0);
  model.encode("blk.0.ffn_up.weight", GGML_TYPE_Q5_1);
  model.encode("blk.0.ffn_down.weight", GGML_TYPE_IQ4_NL);
  return model;
}

// In a small model, blocks of 256 fit only the rows of a layer's last matrix.
ReferenceModel modelWithLongRows(const std::vector<ggml_type>& typeOfLayer) {
  ReferenceShape shape{8, 8, 2, 1, typeOfLayer.size()};
  shape.inner = 256;
  ReferenceModel model(shape);
  model.encodeMatrices(GGML_TYPE_F16);
  for (size_t i = 0; i < typeOfLayer.size(); ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    model.tensors().erase(prefix + "ffn_up.bias");
    model.encode(prefix + "ffn_down.weight", typeOfLayer[i]);
  }
  return model;
}

std::string modelWithOwnHeadAndVocabulary() {
  ReferenceShape shape{4, 8, 8, 2, 1};
  shape.inner = 8;
  shape.ownHead = true;
  ReferenceModel model(shape);
  model.tensors().erase("blk.0.attn_qkv.bias");
  model.zero("output_norm.bias");
  GgufBuilder builder = model.metadata();
  builder.strings("gpt2_native.absent_biases", {"output_norm.bias"})
      .number("gpt2.vocab_size", 4U)
      .strings("tokenizer.ggml.tokens", {"a", "b", "ab", "[PAD3]"})
      .number("tokenizer.ggml.eos_token_id", 1U);
  return model.addTensors(builder).bytes();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: write_seeds <folder of the corpora>\n";
    return 1;
  }
  const std::filesystem::path corpora(arguments[1]);

  write(corpora / "gguf_file", "empty", GgufBuilder().bytes());
  write(corpora / "gguf_file", "everything", oneOfEverything().bytes());
  GgufBuilder older = oneOfEverything();
  older.version = 2;
  write(corpora / "gguf_file", "version-2", older.bytes());

  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}) {
    write(corpora / "model", ggml_type_name(type), modelOf(type).file());
  }
  write(corpora / "model", "blocks", modelOfBlocks().file());
  write(corpora / "model", "k-quants",
        modelWithLongRows({GGML_TYPE_Q6_K, GGML_TYPE_Q4_K, GGML_TYPE_Q2_K}).file());
  write(corpora / "model", "i-quants",
        modelWithLongRows({GGML_TYPE_IQ4_XS, GGML_TYPE_IQ3_S, GGML_TYPE_TQ1_0}).file());
  write(corpora / "model", "own-head", modelWithOwnHeadAndVocabulary());
  return 0;
}
