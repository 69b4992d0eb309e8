// Quantised matrices whose bytes decode to NaN or infinity. The weights of a file are not checked,
// so every kernel must tolerate them, and generation must not sample from the resulting logits.

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "encoded_weights.h"
#include "session_checks.h"

using gpt2::test::encodeInAnyType;
using gpt2::test::generate;
using gpt2::test::greedy;
using gpt2::test::LoadedModel;
using gpt2::test::RandomNumbers;
using gpt2::test::randomTokens;
using gpt2::test::ReferenceModel;
using gpt2::test::ReferenceShape;
using gpt2::test::typesWithDotProduct;
namespace code = gpt2::code;

namespace {

constexpr size_t kWords = 40;

ReferenceModel smallModel() {
  ReferenceShape shape{kWords, 24, 256, 4, 1};
  shape.inner = 256;
  shape.ownHead = true;
  return ReferenceModel(shape);
}

bool isFinite(const std::vector<float>& logits) {
  for (const float logit : logits) {
    if (!std::isfinite(logit)) return false;
  }
  return true;
}

// Evaluates one token, and a batch of nine, which ggml multiplies with different code. Expects
// generation to return tokens of the vocabulary if the logits are finite, and NOT_FINITE otherwise.
// Returns whether all logits were finite.
bool givesFiniteLogits(const std::string& file) {
  LoadedModel model(file);
  bool finite = true;
  for (const size_t count : {1U, 9U}) {
    const std::vector<uint32_t> tokens = randomTokens(count, kWords, count);
    const auto session = model->createSession();
    if (isFinite(model.evaluateLast(*session, 0, tokens))) {
      for (const uint32_t token : generate(model, *session, 0, tokens, greedy(1)).tokens) {
        CHECK(token < kWords);
      }
    } else {
      finite = false;
      CHECK_ERROR(code::kNotFinite, generate(model, *session, 0, tokens, greedy(1)));
    }
  }
  return finite;
}

// Fills all matrices, including the head and the embeddings.
void fillMatrices(ReferenceModel& model, ggml_type type, const std::function<char(size_t)>& byte) {
  for (auto& [name, tensor] : model.tensors()) {
    if (tensor.out == 0) continue;
    const size_t size = tensor.out * ggml_row_size(type, static_cast<int64_t>(tensor.in));
    std::string bytes;
    for (size_t i = 0; i < size; ++i) bytes += byte(i);
    tensor.type = type;
    tensor.bytes = bytes;
  }
}

}  // namespace

// 0xff is NaN in every float type, 0x7c00 and 0xfc00 are the infinities of f16, and 0x7f80 is that
// of bf16. Random bytes contain all of them.
TEST(specialBytePatternsInEveryType) {
  const std::vector<std::string> patterns{std::string(1, '\xff'), std::string("\x00\x7c", 2),
                                          std::string("\x00\xfc", 2), std::string("\x80\x7f", 2),
                                          std::string("\x7f\x00\x80", 3)};
  size_t notFinite = 0;
  for (const ggml_type type : typesWithDotProduct()) {
    for (const std::string& pattern : patterns) {
      ReferenceModel model = smallModel();
      fillMatrices(model, type, [&](size_t i) { return pattern[i % pattern.size()]; });
      if (!givesFiniteLogits(model.file())) ++notFinite;
    }
    RandomNumbers random(7);
    ReferenceModel model = smallModel();
    fillMatrices(model, type, [&](size_t) { return static_cast<char>(random.below(256)); });
    if (!givesFiniteLogits(model.file())) ++notFinite;
  }
  CHECK(notFinite > typesWithDotProduct().size());  // otherwise the patterns are too tame
}

// A NaN or infinite scale in one block of one matrix affects every logit.
TEST(aNonFiniteScaleAffectsTheLogits) {
  const ReferenceModel numbers = smallModel();
  for (const ggml_type type :
       {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0,
        GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS}) {
    ReferenceModel encoded = numbers;
    encoded.encode("blk.0.ffn_down.weight", type);
    CHECK(givesFiniteLogits(encoded.file()));
    for (const std::string& scale :
         {std::string("\x00\x7e", 2), std::string("\x00\x7c", 2), std::string("\x00\xfc", 2)}) {
      ReferenceModel broken = encoded;
      broken.tensor("blk.0.ffn_down.weight").bytes.replace(0, 2, scale);
      CHECK(!givesFiniteLogits(broken.file()));
    }
  }
}
