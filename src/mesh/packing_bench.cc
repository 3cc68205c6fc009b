// What packing costs and saves, on what robots say (JSON of one shape with other numbers), by the size of a batch.
// bytes_per_second is of the plain bytes; `packed` is the part of them that is sent. Beside it the speed of a radio
// (5 to 30 MB/s): where packing is faster than the bytes it saves would take, it pays.
#include <algorithm>
#include <string>

#include <benchmark/benchmark.h>

#include "base/prng.h"
#include "crdt/op.h"
#include "mesh/packing.h"
#include "wire/codec.h"
#include "wire/state_messages.h"

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

// What a map entry weighs on the wire to a newcomer when 1,500 nodes wrote one each, and signatures are counted apart:
// anti-entropy's message of all of them, packed. Half of what is left are the writers' ids, which nothing makes
// shorter.
void entries_of_many(benchmark::State& state) {
  constexpr std::size_t kWriters = 1500;
  wire::StateOps message;
  for (std::size_t i = 0; i < kWriters; ++i) {
    crdt::Op op;
    Prng prng(i);
    for (auto& byte : op.signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
    for (auto& byte : op.dot.origin.bytes) byte = static_cast<std::uint8_t>(prng.next());
    op.dot.epoch.value = 3;
    op.dot.sequence.value = 1;
    op.stamp = crdt::Hlc::at_ms(1'700'000'000'000 + i);
    op.path = fmt::format("map/{:05}", i);
    op.value = to_buffer(as_bytes(fmt::format("value-{:05}", i)));
    message.ops.push_back(crdt::encode_op(op));
  }
  std::ranges::sort(message.ops);  // by origin, as anti-entropy sends them
  const Buffer plain = wire::encode(message);
  Packer packer;
  std::size_t packed = 0;
  for (auto _ : state) packed = packer.pack(plain)->size();
  const auto beside = [](std::size_t bytes) {
    return static_cast<double>(bytes) / kWriters - static_cast<double>(sizeof(trust::Signature));
  };
  state.counters["plain"] = beside(plain.size());
  state.counters["packed"] = beside(packed);
}
BENCHMARK(entries_of_many)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sedge::mesh
