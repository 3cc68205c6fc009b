// What packing costs and saves, on what robots say (JSON of one shape with other numbers), by the size of a batch.
// bytes_per_second is of the plain bytes; `packed` is the part of them that is sent. Beside it the speed of a radio
// (5 to 30 MB/s): where packing is faster than the bytes it saves would take, it pays.
#include <string>

#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "mesh/packing.h"

namespace sedge::mesh {
namespace {

Buffer talk(std::size_t bytes) {
  Prng prng(1);
  std::string text;
  while (text.size() < bytes) {
    text +=
        fmt::format(R"({{"robot":"rover-{}","battery":{},"pose":[{:.3f},{:.3f},{:.3f}],"state":"driving"}})",
                    prng.below(30), prng.below(100), static_cast<double>(prng.below(1'000'000)) / 1e3,
                    static_cast<double>(prng.below(1'000'000)) / 1e3, static_cast<double>(prng.below(360'000)) / 1e3);
  }
  text.resize(bytes);
  return to_buffer(as_bytes(text));
}

void pack(benchmark::State& state) {
  const Buffer plain = talk(static_cast<std::size_t>(state.range(0)));
  Packer packer;
  for (auto _ : state) benchmark::DoNotOptimize(packer.pack(plain));
  state.SetBytesProcessed(state.iterations() * state.range(0));
  const PackStats& stats = packer.stats();
  state.counters["packed"] = static_cast<double>(stats.bytes_packed) / static_cast<double>(stats.bytes_plain);
}
BENCHMARK(pack)->Arg(512)->Arg(2 << 10)->Arg(8 << 10)->Arg(64 << 10);

void unpack_one(benchmark::State& state) {
  Packer packer;
  const Buffer packed = *packer.pack(talk(static_cast<std::size_t>(state.range(0))));
  for (auto _ : state) benchmark::DoNotOptimize(unpack(packed, 64u << 10));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(unpack_one)->Arg(512)->Arg(2 << 10)->Arg(8 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace sedge::mesh
