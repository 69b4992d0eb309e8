#include "kernels/kernels.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "base/processor.h"
#include "kernels/row_functions.h"
#include "kernels/transpose.h"
#include "kernels/widen_row.h"

namespace gpt2 {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx_vnni {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace x86_64_v2 {
extern const Kernels kKernels;
}
#elif defined(__aarch64__)
namespace neon_i8mm {
extern const Kernels kKernels;
}
namespace neon_dotprod {
extern const Kernels kKernels;
}
namespace neon {
extern const Kernels kKernels;
}
#else
namespace generic {
extern const Kernels kKernels;
}
#endif

namespace {

struct Level {
  const Kernels* kernels;
  // The instruction sets that its file is compiled for; null for the rest.
  std::array<const char*, 8> needs;
};

// The best first. The last one runs on every processor that the library loads on.
constexpr Level kLevels[] = {
#if defined(__x86_64__)
    {&avx512::kKernels,
     {"AVX2", "FMA", "F16C", "AVX-512", "AVX512-BW", "AVX512-DQ", "AVX512-VL", "AVX512-VNNI"}},
    {&avx_vnni::kKernels, {"AVX2", "FMA", "F16C", "AVX-VNNI"}},
    {&avx2::kKernels, {"AVX2", "FMA", "F16C"}},
    {&x86_64_v2::kKernels, {}},
#elif defined(__aarch64__)
    {&neon_i8mm::kKernels, {"dotprod", "i8mm"}},
    {&neon_dotprod::kKernels, {"dotprod"}},
    {&neon::kKernels, {}},
#else
    {&generic::kKernels, {}},
#endif
};

bool lacks(const char* set) noexcept { return set != nullptr && !hasInstructionSet(set); }

bool canRun(const Level& level) noexcept {
  return std::none_of(level.needs.begin(), level.needs.end(), lacks);
}

constexpr const char* kVariable = "GPT2_NATIVE_KERNELS";

// The value of the variable, or null. Read when the library is loaded and when a model is.
const char* variable() noexcept {
  return std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): on JavaScript's thread at load
}

// The level of a name; null if there is none that can run.
const Kernels* levelOf(std::string_view name) noexcept {
  for (const Level& level : kLevels) {
    if (name == level.kernels->level && canRun(level)) return level.kernels;
  }
  return nullptr;
}

const Kernels* choose() noexcept {
  const char* name = variable();
  const Kernels* requested = name == nullptr ? nullptr : levelOf(name);
  if (requested != nullptr) return requested;
  return std::find_if(std::begin(kLevels), std::end(kLevels) - 1, canRun)->kernels;
}

// Chosen at load, so that a change of the environment cannot mix two levels in one process.
const Kernels& chosen = *choose();

}  // namespace

const Kernels& kernels() noexcept { return chosen; }

std::vector<KernelLevel> kernelLevels() {
  std::vector<KernelLevel> all;
  for (const Level& level : kLevels) {
    std::string missing;
    for (const char* set : level.needs) {
      if (lacks(set)) missing += (missing.empty() ? "" : ", ") + std::string(set);
    }
    all.push_back({level.kernels->level, missing});
  }
  return all;
}

void checkKernelChoice() {
  const char* name = variable();
  if (name == nullptr || levelOf(name) != nullptr) return;
  std::string known;
  for (const auto& [level, missing] : kernelLevels()) {
    if (missing.empty()) known += (known.empty() ? "" : ", ") + level;
  }
  throw Error(code::kInvalidArgument, std::string("Expected the variable ") + kVariable +
                                          " to be a level that this processor can run (" + known +
                                          ") but received \"" + name + "\"");
}

// ---- The functions, of the chosen level.

int64_t tileRows() noexcept { return chosen.tileRows; }
int64_t tileColumns() noexcept { return chosen.tileColumns; }

bool isFloatType(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

void multiplyRows(const Matrix& w, int64_t first, int64_t count, const float* x, size_t xStride,
                  int n, float* out, size_t outStride) {
  chosen.multiplyRows(w, first, count, x, xStride, n, out, outStride);
}

void addWeightedRows(const Matrix& w, const float* x, float* out, const void* next) {
  chosen.addWeightedRows(w, x, out, next);
}

int64_t packedIndex(int64_t column, int64_t columns, SumOrder order) noexcept {
  return chosen.packedIndex(column, columns, order);
}

void packRows(const Matrix& w, int64_t first, float* panel, float* scratch) {
  chosen.packRows(w, first, panel, scratch);
}

void packColumns(const Matrix& w, int64_t first, float* panel) {
  chosen.packColumns(w, first, panel);
}

void packTiles(const float* x, size_t xStride, int64_t n, PackedColumns columns, SumOrder order,
               float* packed) {
  chosen.packTiles(x, xStride, n, columns, order, packed);
}

void multiplyTile(const float* tile, const float* panel, int64_t columns, int64_t rows,
                  SumOrder order, float* out, size_t outStride) {
  chosen.multiplyTile(tile, panel, columns, rows, order, out, outStride);
}

void accumulateRow(const float* x, const float* panel, int64_t columns, float* out) {
  chosen.accumulateRow(x, panel, columns, out);
}

int64_t roundedTileRows() noexcept { return chosen.roundedTileRows; }

bool isIntegerType(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
      return true;
    default:
      return false;
  }
}

size_t roundedRowBytes(int64_t columns) { return chosen.roundedRowBytes(columns); }

void roundRow(const float* x, int64_t columns, uint8_t* rounded) {
  chosen.roundRow(x, columns, rounded);
}

void multiplyRoundedRows(const Matrix& w, int64_t first, int64_t count, const uint8_t* x, int n,
                         float* out, size_t outStride) {
  chosen.multiplyRoundedRows(w, first, count, x, n, out, outStride);
}

size_t integerPanelBytes(ggml_type type, int64_t columns) {
  return chosen.integerPanelBytes(type, columns);
}

void packIntegerRows(const Matrix& w, int64_t first, uint8_t* panel) {
  chosen.packIntegerRows(w, first, panel);
}

void multiplyRoundedTile(const uint8_t* x, int64_t rows, const uint8_t* panel, ggml_type type,
                         int64_t columns, float* out) {
  chosen.multiplyRoundedTile(x, rows, panel, type, columns, out);
}

void normalize(const float* x, const float* weight, const float* bias, float epsilon, int64_t n,
               float* y) {
  chosen.normalize(x, weight, bias, epsilon, n, y);
}

void applyEpilogue(const float* x, const float* bias, Activation activation, const float* residual,
                   int64_t n, float* y) {
  chosen.applyEpilogue(x, bias, activation, residual, n, y);
}

void roundToF16(const float* x, int64_t n, uint16_t* y) { chosen.roundToF16(x, n, y); }

float largest(const float* x, int64_t n) { return chosen.largest(x, n); }

bool areFinite(const float* x, int64_t n) { return chosen.areFinite(x, n); }

double sumInDouble(const float* x, int64_t n) { return chosen.sumInDouble(x, n); }

ExpSums expSums(const float* x, float top, int64_t n) { return chosen.expSums(x, top, n); }

int64_t countAbove(const float* x, float limit, int64_t n) {
  return chosen.countAbove(x, limit, n);
}

int64_t countAtLeast(const float* x, float limit, int64_t n) {
  return chosen.countAtLeast(x, limit, n);
}

void softmax(float* x, float scale, int64_t n) { chosen.softmax(x, scale, n); }

void transpose(const float* from, size_t fromStride, int64_t rows, int64_t columns, float* to,
               size_t toStride) {
  chosen.transpose(from, fromStride, rows, columns, to, toStride);
}

void widenRow(ggml_type type, const void* from, float* to, int64_t count) {
  chosen.widenRow(type, from, to, count);
}

}  // namespace gpt2
