#include "gguf/gpt2_tensors.h"

#include <set>
#include <string>

#include "check.h"
#include "reference_model.h"

using gpt2::Gpt2Module;
using gpt2::ModuleKind;
using gpt2::ModulePlace;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
namespace modules = gpt2::modules;

TEST(namesAreThoseOfLlamaCpp) {
  CHECK_EQUAL(weightName(modules::kTokenEmbedding), "token_embd.weight");
  CHECK_EQUAL(weightName(modules::kAttentionQkv, 0), "blk.0.attn_qkv.weight");
  CHECK_EQUAL(biasName(modules::kFeedForwardDown, 47), "blk.47.ffn_down.bias");
  CHECK_EQUAL(biasName(modules::kOutputNorm), "output_norm.bias");
  CHECK_EQUAL(weightName(modules::kHead), "output.weight");
}

TEST(aModelHasTheTensorsOfTheTable) {
  ReferenceShape shape{30, 16, 12, 3, 2};
  shape.ownHead = true;
  const ReferenceModel model(shape);
  std::set<std::string> expected;
  for (const auto& [name, tensor] : model.tensors()) expected.insert(name);
  std::set<std::string> names;
  for (const Gpt2Module* module : gpt2::kGpt2Modules) {
    const int64_t copies = module->place == ModulePlace::kLayer ? 2 : 1;
    for (int64_t i = 0; i < copies; ++i) {
      names.insert(weightName(*module, i));
      if (module->kind != ModuleKind::kTable) names.insert(biasName(*module, i));
    }
  }
  CHECK(names == expected);
  CHECK_EQUAL(gpt2::moduleCount(ModulePlace::kLayer), 6U);
}
