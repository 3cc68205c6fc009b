// Times every row of the kernel table on every instruction set of this machine: bytes of weights a second for a
// matmul at 1, 7, 24 and 96 tokens, values a second for the rest.
#include <string>

#include <benchmark/benchmark.h>

#include "kernels/kernel_cases.h"

namespace sedge::kernels {
namespace {

template <class Args>
constexpr cases::Size kSize{.rows = 256, .cols = 512, .tokens = 2};
template <>
constexpr cases::Size kSize<MatmulArgs>{.rows = 1024, .cols = 4096, .tokens = 1};

template <class Args, class Format>
void time_case(const std::string& name, void (*kernel)(const Args&), cases::Size size, Format format) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    Prng prng(1);
    cases::Case<Args> random(prng, size, format);
    for (auto _ : state) {
      if constexpr (std::is_same_v<Args, MatmulArgs>) {
        kernel(random.args);
        benchmark::DoNotOptimize(random.y.data());
      } else {
        benchmark::DoNotOptimize(random.run(kernel));
      }
    }
    if constexpr (std::is_same_v<Args, MatmulArgs>) {
      state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                              static_cast<std::int64_t>(random.weights.size()));
    } else {
      state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(size.cols));
    }
  });
}

constexpr std::size_t kManyTokens[] = {7, 24, 96};

const bool kRegistered = [] {
  for (const Kernels& kernels : available_kernels()) {
    const std::string isa(kernels.isa);
#define SEDGE_TIME(name, Args, format) time_case<Args>(#name "/" + isa, kernels.name, kSize<Args>, format);
    SEDGE_KERNEL_ROWS(SEDGE_TIME)
#undef SEDGE_TIME
    for (const std::size_t tokens : kManyTokens) {
      const std::string many = isa + "/" + std::to_string(tokens) + " tokens";
      const cases::Size size{.rows = 64, .cols = 4096, .tokens = tokens};
#define SEDGE_TIME_PREFILL(name, Args, format) time_case<Args>(#name "/" + many, kernels.name, size, format);
      SEDGE_MATMUL_ROWS(SEDGE_TIME_PREFILL)
#undef SEDGE_TIME_PREFILL
    }
  }
  return true;
}();

}  // namespace
}  // namespace sedge::kernels
