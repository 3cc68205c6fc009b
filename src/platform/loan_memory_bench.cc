// What a loan costs without the mesh: pages made or used before, a frame copied in, then mapped and read to its end.
#include <cstring>

#include <benchmark/benchmark.h>

#include "base/assert.h"
#include "platform/loan_memory.h"

namespace sedge::platform {
namespace {

void lend_and_read(LoanMemory& memory, const Buffer& frame) {
  std::memcpy(memory.bytes().data(), frame.data(), frame.size());
  SEDGE_ASSERT(memory.protect().has_value());
  const Descriptor reading = memory.lend().value();
  const Mapping view = map_loan(reading.get(), frame.size()).value();
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + sizeof sum <= frame.size(); at += sizeof sum) {
    std::uint64_t word = 0;
    std::memcpy(&word, &view.bytes()[at], sizeof word);
    sum += word;
  }
  benchmark::DoNotOptimize(sum);
}

void new_pages(benchmark::State& state) {
  const Buffer frame(static_cast<std::size_t>(state.range(0)), 1);
  for (auto _ : state) {
    LoanMemory memory = LoanMemory::make(frame.size()).value();
    lend_and_read(memory, frame);
  }
}

void pages_used_before(benchmark::State& state) {
  const Buffer frame(static_cast<std::size_t>(state.range(0)), 1);
  LoanMemory memory = LoanMemory::make(frame.size()).value();
  for (auto _ : state) {
    SEDGE_ASSERT(memory.is_free() && memory.reuse(frame.size()).has_value());
    lend_and_read(memory, frame);
  }
}

BENCHMARK(new_pages)->Arg(1'000'000)->Arg(8'000'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(pages_used_before)->Arg(1'000'000)->Arg(8'000'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sedge::platform
