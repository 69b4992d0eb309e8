// Encodes any numbers of any shapes and types. encodeTensor rejects them with an Error, or returns
// the bytes of finite numbers, in the size of the type.

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/tensor_type.h"
#include "gguf/encode_tensor.h"

using gpt2::SourceTensor;

namespace {

constexpr ggml_type kSourceTypes[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
// The types of lib/gguf/tensor-types.ts.
constexpr ggml_type kTypes[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                GGML_TYPE_Q6_K, GGML_TYPE_Q5_K, GGML_TYPE_Q5_1, GGML_TYPE_Q5_0,
                                GGML_TYPE_Q4_K, GGML_TYPE_Q4_1, GGML_TYPE_Q4_0};
// Whole blocks of these types, and lengths next to them.
constexpr int64_t kRowLengths[] = {1, 31, 32, 33, 64, 96, 255, 256, 512};

bool isRefusal(const gpt2::Error& error) {
  return std::strcmp(error.code(), gpt2::code::kInvalidArgument) == 0 ||
         std::strcmp(error.code(), gpt2::code::kInvalidFile) == 0;
}

void check(const SourceTensor& source, ggml_type type, const std::vector<uint8_t>& encoded) {
  const int64_t count = source.rows * source.columns;
  if (encoded.size() != ggml_row_size(type, count)) std::abort();
  // Without a change of type, numbers are copied, infinities included.
  if (type == source.type) return;
  std::vector<float> numbers(static_cast<size_t>(count));
  gpt2::widen(type, encoded.data(), numbers.data(), count);
  const auto isFinite = [](float number) { return std::isfinite(number); };
  if (!std::all_of(numbers.begin(), numbers.end(), isFinite)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  SourceTensor source{};
  source.type = input.PickValueInArray(kSourceTypes);
  const ggml_type type = input.PickValueInArray(kTypes);
  source.transpose = input.ConsumeBool();
  const bool isSound = input.ConsumeBool();
  if (isSound) {
    constexpr int64_t kMaxRows = 5;
    source.rows = input.ConsumeIntegralInRange<int64_t>(1, kMaxRows);
    source.columns = input.PickValueInArray(kRowLengths);
    if (source.transpose) std::swap(source.rows, source.columns);
  } else {
    source.rows = input.ConsumeIntegral<int64_t>();
    source.columns = input.ConsumeIntegral<int64_t>();
  }
  std::vector<uint8_t> bytes = input.ConsumeRemainingBytes<uint8_t>();
  if (isSound) {
    // Repeats the given bytes to the size of the shape.
    const size_t given = bytes.size();
    bytes.resize(static_cast<size_t>(source.rows * source.columns) * ggml_type_size(source.type));
    for (size_t i = given; given > 0 && i < bytes.size(); ++i) bytes[i] = bytes[i - given];
  }
  source.data = bytes.data();
  source.byteSize = bytes.size();
  try {
    static gpt2::ThreadPool pool(1);
    check(source, type, gpt2::encodeTensor(source, type, pool));
  } catch (const gpt2::Error& error) {
    if (!isRefusal(error)) throw;
  }
  return 0;
}
