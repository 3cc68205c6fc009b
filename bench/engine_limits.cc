#include "engine_limits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sedge::bench {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Keeps a value from being optimised away.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

// Seconds that `threads` take to run body(thread), from a common start to the last one's end; the median of five.
template <class Body>
double time_threads(unsigned threads, const Body& body) {
  std::vector<double> runs;
  for (int run = 0; run < 5; ++run) {
    std::atomic<unsigned> ready{0};
    std::vector<double> begun(threads), ended(threads);
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        ++ready;
        while (ready < threads) std::this_thread::yield();
        begun[t] = seconds();
        body(t);
        ended[t] = seconds();
      });
    }
    for (std::thread& one : all) one.join();
    runs.push_back(*std::ranges::max_element(ended) - *std::ranges::min_element(begun));
  }
  std::ranges::nth_element(runs, runs.begin() + 2);
  return runs[2];
}

// Reading asks 4096 bytes ahead, as the products do (kernels/simd.h): without that one core of a server reads less.
void ask_ahead(const std::uint8_t* at) { __builtin_prefetch(at + 4096); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void read_all(const std::uint8_t* at, std::size_t bytes) {
  __m256i sums[8] = {};
  for (std::size_t i = 0; i + 256 <= bytes; i += 256) {
    for (std::size_t line = 0; line < 256; line += 64) ask_ahead(at + i + line);
    for (std::size_t k = 0; k < 8; ++k) {
      const auto* from = reinterpret_cast<const __m256i*>(at + i + 32 * k);
      sums[k] = _mm256_add_epi64(sums[k], _mm256_load_si256(from));
    }
  }
  keep(sums);
}

// Twelve independent sums, more than latency times throughput of any processor asks for. The loops are written as
// assembler, since a compiler would see through products of constants.
#define SEDGE_TWELVE(ONE) ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11)
#define SEDGE_MULTIPLY(NAME, ONE, BYTES)                                                                          \
  std::size_t NAME(std::size_t rounds) {                                                                          \
    asm volatile("1:\n" SEDGE_TWELVE(ONE) "dec %0\n jnz 1b\n"                                                     \
                 : "+r"(rounds)                                                                                   \
                 :                                                                                                \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                   "xmm11", "xmm12");                                                                             \
    return 12 * (BYTES);                                                                                          \
  }
#define SEDGE_SUM_512(i) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #i "\n"
#define SEDGE_SUM_256(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n"
// Bytes to pairs, pairs to fours, added: what AVX2 has instead.
#define SEDGE_SUM_AVX2(i)                  \
  "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n" \
  "vpmaddwd %%ymm13, %%ymm12, %%ymm12\n"   \
  "vpaddd %%ymm12, %%ymm" #i ", %%ymm" #i "\n"
SEDGE_MULTIPLY(multiply_512, SEDGE_SUM_512, 64)
SEDGE_MULTIPLY(multiply_256, SEDGE_SUM_256, 32)
SEDGE_MULTIPLY(multiply_avx2, SEDGE_SUM_AVX2, 32)

// Four whole tiles of sums, of sixteen rows by sixteen by 64. Requires: the process may use tiles, as kernels.cc asks.
std::size_t multiply_amx(std::size_t rounds) {
  static constexpr auto kTiles = [] {
    std::array<std::uint8_t, 64> configuration = {1};
    for (std::size_t i = 0; i < 8; ++i) configuration[16 + 2 * i] = 64, configuration[48 + i] = 16;
    return configuration;
  }();
  asm volatile(
      "ldtilecfg %1\n"
      "1:\n"
      "tdpbssd %%tmm6, %%tmm4, %%tmm0\n"
      "tdpbssd %%tmm7, %%tmm4, %%tmm1\n"
      "tdpbssd %%tmm6, %%tmm5, %%tmm2\n"
      "tdpbssd %%tmm7, %%tmm5, %%tmm3\n"
      "dec %0\n"
      "jnz 1b\n"
      "tilerelease\n"
      : "+r"(rounds)
      : "m"(kTiles)
      : "cc");
  return 4 * 16 * 16 * 64;
}

using Multiply = std::size_t (*)(std::size_t);
Multiply multiply_of(std::string_view isa) {
  if (isa == "amx") return multiply_amx;
  if (isa == "avx512vnni") return multiply_512;
  if (isa == "avxvnni") return multiply_256;
  if (isa == "avx2") return multiply_avx2;
  return nullptr;
}
#else
void read_all(const std::uint8_t* at, std::size_t bytes) {
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i + 64 <= bytes; i += 64) {
    ask_ahead(at + i);
    std::uint64_t words[8];
    std::memcpy(words, at + i, sizeof words);
    for (std::size_t k = 0; k < 8; ++k) sums[k] += words[k];
  }
  keep(sums);
}
using Multiply = std::size_t (*)(std::size_t);
Multiply multiply_of(std::string_view) { return nullptr; }
#endif

double read_rate(unsigned threads, std::size_t bytes) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;  // pages as packed weights have them
  const std::size_t part = bytes / threads / 4096 * 4096 + 4096, all = (part * threads / kHuge + 1) * kHuge;
  const std::unique_ptr<std::uint8_t, decltype(&std::free)> memory(
      static_cast<std::uint8_t*>(std::aligned_alloc(kHuge, all)), &std::free);
  std::uint8_t* const begin = memory.get();
  if (begin == nullptr) throw std::bad_alloc();
  ::madvise(begin, all, MADV_HUGEPAGE);
  std::fill_n(begin, all, std::uint8_t{1});
  const std::size_t times = std::max(std::size_t{1}, (std::size_t{1} << 30) / (part * threads));
  const double took = time_threads(threads, [&](unsigned t) {
    for (std::size_t i = 0; i < times; ++i) read_all(begin + t * part, part);
  });
  return static_cast<double>(part * threads * times) / took;
}

}  // namespace

Limits measure_limits(std::string_view isa, unsigned threads, std::size_t bytes) {
  Limits limits{.read_bytes_s = read_rate(threads, bytes), .products_s = 0};
  const Multiply multiply = multiply_of(isa);
  if (multiply == nullptr) return limits;
  constexpr std::size_t kRounds = 10'000'000;
  const std::size_t each = multiply(1);
  limits.products_s =
      static_cast<double>(each * kRounds * threads) / time_threads(threads, [&](unsigned) { multiply(kRounds); });
  return limits;
}

}  // namespace sedge::bench
