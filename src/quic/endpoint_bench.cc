// Two endpoints in one thread, without a network between them: what a frame costs in processor time at both ends.
#include <benchmark/benchmark.h>

#include "quic/testing.h"

namespace {

using namespace sedge;

void frames(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  quic::testing::World w(1, {.latency = 20us});
  if (!w.link()) return state.SkipWithError("no link");
  const std::size_t burst = std::max<std::size_t>(1, std::min<std::size_t>(2000, (1u << 20) / bytes));
  std::size_t received = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < burst; ++i) {
      if (!w.send(*w.a, w.second, env::Priority::kNormal, Buffer(bytes, 1))) state.SkipWithError("queue full");
    }
    w.b->events.clear();
    received = 0;
    w.net.run(10s, [&] { return w.b->events.size() >= burst; });
    received = w.b->events.size();
    if (received != burst) return state.SkipWithError("frames lost");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(burst));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(burst * bytes));
}
BENCHMARK(frames)->Arg(64)->Arg(1024)->Arg(65536)->Arg(1 << 20);

void handshakes(benchmark::State& state) {
  for (auto _ : state) {
    quic::testing::World w(1);
    if (!w.link()) return state.SkipWithError("no link");
  }
}
BENCHMARK(handshakes)->Unit(benchmark::kMillisecond);

}  // namespace
