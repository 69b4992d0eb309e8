// Measures the limits of the machine, to compare the engine with: the rates of reading memory and
// of multiply-adds in f32 and int8.
//
//   machine_limits <bytes> <threads>
//
// Prints JSON: GB/s of reading a buffer of `bytes` bytes, and 10^9 operations per second, where a
// multiply-add counts as two; int8 is null if this program has no loop for the instruction set. All
// are the best of several runs.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#define GPT2_LEVEL machine_limits
#include "kernels/levels/simd.h"

namespace simd = gpt2::machine_limits::simd;
using simd::Floats;
using simd::kLanes;

namespace {

constexpr int kRuns = 7;

// Runs work(thread) on all threads at once, several times. Returns the shortest time in seconds.
double shortestTime(int threads, const std::function<void(int)>& work) {
  double shortest = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    std::atomic<int> waiting{threads};
    std::vector<std::thread> pool;
    std::vector<double> begins(static_cast<size_t>(threads)), ends(static_cast<size_t>(threads));
    const auto now = [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
    };
    for (int thread = 0; thread < threads; ++thread) {
      pool.emplace_back([&, thread] {
        waiting.fetch_sub(1);
        while (waiting.load() > 0) {
        }
        begins[static_cast<size_t>(thread)] = now();
        work(thread);
        ends[static_cast<size_t>(thread)] = now();
      });
    }
    for (std::thread& thread : pool) thread.join();
    shortest = std::min(shortest, *std::max_element(ends.begin(), ends.end()) -
                                      *std::min_element(begins.begin(), begins.end()));
  }
  return shortest;
}

std::atomic<float> keep;  // prevents the compiler from removing the work

double readRate(size_t bytes, int threads) {
  const size_t count = bytes / sizeof(float) / static_cast<size_t>(threads) /
                       static_cast<size_t>(8 * kLanes) * static_cast<size_t>(8 * kLanes);
  std::vector<float> buffer(count * static_cast<size_t>(threads), 1.0F);
  const double seconds = shortestTime(threads, [&](int thread) {
    const float* from = buffer.data() + static_cast<size_t>(thread) * count;
    Floats sums[8] = {};
    for (size_t i = 0; i < count; i += static_cast<size_t>(8 * kLanes)) {
      for (int j = 0; j < 8; ++j) {
        sums[j] += simd::load(from + i + static_cast<size_t>(j * kLanes));
      }
    }
    float total = 0;
    for (const Floats& sum : sums) total += simd::sum(sum);
    keep = total;
  });
  return static_cast<double>(buffer.size() * sizeof(float)) / seconds / 1e9;
}

constexpr int kChains = 12;  // independent, at least latency × throughput of a multiply-add
constexpr int64_t kSteps = 4'000'000;

double multiplyAddRate(int threads) {
  const double seconds = shortestTime(threads, [](int) {
    Floats sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = simd::broadcast(static_cast<float>(i));
    const Floats factor = simd::broadcast(1.0000001F);
    for (int64_t i = 0; i < kSteps; ++i) {
      for (Floats& sum : sums) sum = simd::fma(sum, factor, factor);
    }
    float total = 0;
    for (const Floats& sum : sums) total += simd::sum(sum);
    keep = total;
  });
  return 2.0 * kLanes * kChains * kSteps * threads / seconds / 1e9;
}

#if defined(__AVX512VNNI__)
#define HAS_BYTE_PRODUCTS
double byteProductRate(int threads) {
  const double seconds = shortestTime(threads, [](int thread) {
    __m512i sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(static_cast<char>(thread + 3));
    const __m512i b = _mm512_set1_epi8(static_cast<char>(thread + 5));
    for (int64_t i = 0; i < kSteps; ++i) {
      for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    }
    int total = 0;
    for (const __m512i& sum : sums) total += _mm512_reduce_add_epi32(sum);
    keep = static_cast<float>(total);
  });
  return 2.0 * 64 * kChains * kSteps * threads / seconds / 1e9;
}
#elif defined(__AVX2__)
#define HAS_BYTE_PRODUCTS
// Pairs of products in 16 bits, whose sums are added in 32, as for q8_0. The factors are the sums
// themselves, so that the compiler cannot compute the products once.
double byteProductRate(int threads) {
  const double seconds = shortestTime(threads, [](int thread) {
    __m256i sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_set1_epi32(i);
    const __m256i factor = _mm256_set1_epi8(static_cast<char>(thread + 3));
    const __m256i ones = _mm256_set1_epi16(1);
    for (int64_t i = 0; i < kSteps; ++i) {
      for (__m256i& sum : sums) {
        const __m256i pairs = _mm256_maddubs_epi16(sum, factor);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
      }
    }
    int total = 0;
    for (const __m256i& sum : sums) total += _mm256_extract_epi32(sum, 0);
    keep = static_cast<float>(total);
  });
  return 2.0 * 32 * kChains * kSteps * threads / seconds / 1e9;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const auto bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  if (bytes < 1'000'000 || threads < 1) {
    std::fprintf(stderr, "usage: machine_limits <bytes> <threads>\n");
    return 2;
  }
  std::printf("{\"readGBps\":%.2f,\"f32Gops\":%.1f,\"int8Gops\":", readRate(bytes, threads),
              multiplyAddRate(threads));
#ifdef HAS_BYTE_PRODUCTS
  std::printf("%.1f}\n", byteProductRate(threads));
#else
  std::printf("null}\n");
#endif
  return 0;
}
