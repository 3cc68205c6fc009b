// How many writes a core merges in a second, how much memory they take, what a session costs that compares 100,000, and
// what an entry of a map weighs on the wire when 1,500 nodes write it at once (bytes that are not signatures, as
// counters). Signatures are stand-ins: checking one costs about 60 us and is not part of merging.
#include <benchmark/benchmark.h>

#include <malloc.h>

#include "base/prng.h"
#include "crdt/replica.h"
#include "crdt/session.h"

namespace sedge::crdt {
namespace {

constexpr std::size_t kWriters = 1500;
constexpr std::size_t kWrites = 100'000;

Op op_of(OpKind kind, std::size_t number) {
  Op op;
  Prng prng(number);
  for (auto& byte : op.signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
  Prng who(number % kWriters);
  for (auto& byte : op.dot.origin.bytes) byte = static_cast<std::uint8_t>(who.next());
  op.dot.epoch.value = 3;
  op.dot.sequence.value = 1 + number / kWriters;
  op.stamp = Hlc::at_ms(1'700'000'000'000 + number);
  op.kind = kind;
  const std::size_t entry = kind == OpKind::kRegister ? number / 2 : number % 100;
  op.path = fmt::format("map/{:05}", entry);
  if (kind == OpKind::kCounter) {
    op.plus = number;
  } else {
    op.value = to_buffer(as_bytes(fmt::format("value-{:05}", number)));
  }
  return op;
}

std::vector<Op> ops_of(OpKind kind) {
  std::vector<Op> ops;
  for (std::size_t i = 0; i < kWrites; ++i) ops.push_back(op_of(kind, i));
  return ops;
}

// Registers: each path is written twice. Counters: 100 paths, all writers on each. Sets: 100 paths, 1,000 elements
// each.
template <OpKind kind>
void merge(benchmark::State& state) {
  const std::vector<Op> ops = ops_of(kind);
  for (auto _ : state) {
    Replica replica;
    for (const Op& op : ops) benchmark::DoNotOptimize(replica.apply(op));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kWrites));
}
BENCHMARK(merge<OpKind::kRegister>)->Unit(benchmark::kMillisecond);
BENCHMARK(merge<OpKind::kCounter>)->Unit(benchmark::kMillisecond);
BENCHMARK(merge<OpKind::kInsert>)->Unit(benchmark::kMillisecond);

// The same for a million writes that come in no order: registers that are written once, or elements of 100 sets.
template <OpKind kind>
void merge_million(benchmark::State& state) {
  std::vector<Op> ops;
  for (std::size_t i = 0; i < 1'000'000; ++i) ops.push_back(op_of(kind, 2 * i));
  Prng(1).shuffle(ops);
  for (auto _ : state) {
    Replica replica({.writes_max = ops.size(), .bytes_max = std::size_t{1} << 30});
    for (const Op& op : ops) benchmark::DoNotOptimize(replica.apply(op));
    if (replica.living().size() != ops.size()) state.SkipWithError("there was no room");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * ops.size()));
}
BENCHMARK(merge_million<OpKind::kRegister>)->Unit(benchmark::kMillisecond);
BENCHMARK(merge_million<OpKind::kInsert>)->Unit(benchmark::kMillisecond);

// What the allocator has given for 20,000 entries of so many bytes each, over their paths and values.
void memory(benchmark::State& state) {
  constexpr std::size_t kEntries = 20'000;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  double given = 0, live = 0;
  for (auto _ : state) {
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    Replica replica;
    for (std::size_t i = 0; i < kEntries; ++i) {
      Op op = op_of(OpKind::kRegister, 2 * i);
      op.value = Buffer(bytes, 'x');
      live = static_cast<double>(op.path.size() + bytes);
      static_cast<void>(replica.apply(std::move(op)));
    }
    given = static_cast<double>(mallinfo2().uordblks + mallinfo2().hblkhd - before) / kEntries;
  }
  state.counters["bytes_an_entry"] = given;
  state.counters["times_live"] = given / live;
}
BENCHMARK(memory)->Arg(32)->Arg(256)->Arg(1024)->Arg(4096)->Unit(benchmark::kMillisecond)->Iterations(1);

Replica& full() {
  static Replica replica;
  if (replica.living().empty()) {
    for (const Op& op : ops_of(OpKind::kInsert)) static_cast<void>(replica.apply(op));
  }
  return replica;
}

void make_set(benchmark::State& state) {
  const Replica& replica = full();
  for (auto _ : state) benchmark::DoNotOptimize(ItemSet({1}, replica));
}
BENCHMARK(make_set)->Unit(benchmark::kMillisecond);

void sketch(benchmark::State& state) {
  const Session session(ItemSet({1}, full()));
  for (auto _ : state) benchmark::DoNotOptimize(session.open(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(sketch)->Arg(1)->Arg(48)->Arg(1024)->Unit(benchmark::kMillisecond);

void find_ten(benchmark::State& state) {
  const ItemSet set({1}, full());
  std::vector<std::uint64_t> names;
  for (std::size_t i = 0; i < 10; ++i) names.push_back(set.items()[i * 9'999].name());
  for (auto _ : state) benchmark::DoNotOptimize(set.find(names));
}
BENCHMARK(find_ten)->Unit(benchmark::kMillisecond);

void open_with_ranges(benchmark::State& state) {
  const Session session(ItemSet({1}, full()));
  for (auto _ : state) benchmark::DoNotOptimize(session.open_with_ranges());
}
BENCHMARK(open_with_ranges)->Unit(benchmark::kMicrosecond);

// Each of 1,500 nodes writes one entry, before it has seen the others'. Then one node writes an entry that `seen` of
// them wrote.
void wire_bytes(benchmark::State& state) {
  const auto seen = static_cast<std::size_t>(state.range(0));
  std::size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    for (std::size_t i = 0; i < kWriters; ++i) {
      Op op = op_of(seen == 0 ? OpKind::kRegister : OpKind::kMulti, i);
      for (std::size_t n = 0; n < seen; ++n) op.replaces.push_back(op_of(OpKind::kMulti, n).dot);
      bytes += encode_op(op).size() - sizeof(trust::Signature);
    }
  }
  state.counters["bytes_an_entry"] = static_cast<double>(bytes) / kWriters;
}
BENCHMARK(wire_bytes)->Arg(0)->Arg(1)->Arg(1024)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace sedge::crdt
