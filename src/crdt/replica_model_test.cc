// The replica beside the plainest one that follows the same rules: a map of all living writes, looked through from end
// to end for each question. And what the allocator gives, beside what the replica says it takes.
#include <algorithm>
#include <map>
#include <memory>

#include <gtest/gtest.h>
#include <malloc.h>
#include <rapidcheck.h>

#include "base/prng.h"
#include "crdt/replica.h"

namespace sedge::crdt {
namespace {

auto age(const Op& op) { return std::tie(op.stamp, op.dot, op.signature); }
Family family(const Op& op) { return family_of(op.kind); }

struct Model {
  std::map<Dot, Op> living;

  static bool same_slot(const Op& a, const Op& b) {
    if (a.path != b.path || family(a) != family(b)) return false;
    if (family(a) == Family::kCounter) return a.dot.origin == b.dot.origin;
    if (family(a) == Family::kLog) return a.plus == b.plus;
    return !has_elements(family(a)) || a.value == b.value;
  }

  static bool is_over(const Op& op, const Op& by) {
    switch (family(op)) {
      case Family::kRegister:
      case Family::kCounter:
        return age(op) < age(by);
      case Family::k2PSet:
        if (op.kind != by.kind) return by.kind == OpKind::kRemove2P;
        return age(op) < age(by);
      case Family::kLog:
        return !by.value && age(op) < age(by);
      default:
        return op.stamp < by.stamp &&
               std::ranges::any_of(
                   by.replaces, [&](const Dot& dot) { return dot.origin == op.dot.origin && op.dot <= dot; });
    }
  }

  // Of all writes of a slot, whether those stay.
  std::map<Dot, Op> survivors(const Op& newcomer) const {
    std::vector<Op> slot = {newcomer};
    for (const auto& [dot, op] : living) {
      if (dot != newcomer.dot && same_slot(op, newcomer)) slot.push_back(op);
    }
    std::map<Dot, Op> stay;
    for (const Op& op : slot) {
      const auto newer = std::ranges::count_if(slot, [&](const Op& other) { return age(other) > age(op); });
      const bool full = family(op) == Family::kLog && op.value && newer >= static_cast<std::ptrdiff_t>(op.plus);
      if (!full && std::ranges::none_of(slot, [&](const Op& other) { return is_over(op, other); })) stay[op.dot] = op;
    }
    return stay;
  }

  MergeResult apply(const Op& op) {
    const auto same = living.find(op.dot);
    if (same != living.end() && same->second.signature == op.signature) return {Merge::kDuplicate, {}};
    if (same != living.end() && same->second.signature > op.signature) return {Merge::kConflict, {}};
    const std::map<Dot, Op> stay = survivors(op);
    if (!stay.contains(op.dot)) return {Merge::kReplaced, {}};
    MergeResult result{same == living.end() ? Merge::kMerged : Merge::kConflict, {}};
    for (const auto& [dot, other] : living) {
      if (dot == op.dot || (same_slot(other, op) && !stay.contains(dot))) result.ended.push_back(dot);
    }
    for (const Dot& dot : result.ended) living.erase(dot);
    living[op.dot] = op;
    return result;
  }

  std::optional<Value> read(const std::string& path) const {
    std::vector<Op> there;
    for (const auto& [dot, op] : living) {
      if (op.path == path) there.push_back(op);
    }
    if (there.empty()) return std::nullopt;
    const Op newest = *std::ranges::max_element(there, [](const Op& a, const Op& b) { return age(a) < age(b); });
    std::erase_if(there, [&](const Op& op) {
      return family(op) != family(newest) || (family(op) == Family::kLog && op.plus != newest.plus);
    });
    std::ranges::sort(there, [](const Op& a, const Op& b) { return age(a) < age(b); });
    Value value{.family = family(newest), .values = {}, .dots = {}, .stamp = newest.stamp, .writer = newest.dot.origin};
    const bool log = family(newest) == Family::kLog;
    if (log) value.keep = newest.plus;
    for (const Op& op : there) {
      if (family(op) == Family::kCounter) value.total += static_cast<std::int64_t>(op.plus - op.minus);
      if (!op.value || op.kind == OpKind::kRemove || op.kind == OpKind::kRemove2P) continue;
      value.values.push_back(*op.value);
      if (log) value.dots.push_back(op.dot);
    }
    if (has_elements(value.family)) {
      std::ranges::sort(value.values);
      value.values.erase(std::ranges::unique(value.values).begin(), value.values.end());
    } else if (value.values.empty() && value.family != Family::kCounter) {
      return std::nullopt;
    }
    return value;
  }

  std::map<std::string, Value> values(std::string_view prefix) const {
    std::map<std::string, Value> out;
    for (const auto& [dot, op] : living) {
      const auto value = op.path.starts_with(prefix) ? read(op.path) : std::nullopt;
      if (value) out.insert_or_assign(op.path, *value);
    }
    return out;
  }
};

NodeId node(std::uint64_t number) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(number);
  return id;
}

const std::vector<std::string> kPaths = {"a", "a/b", "a/b/c", "ab", "sys/x", std::string(kPathBytesMax, 'z')};

// Any write: of any kind anywhere, replacing what may exist or not, signed anew under a dot that was used, of lives and
// numbers on both sides of 32 bits.
Op any_op(Prng& prng) {
  Op op;
  const auto dot = [&] {
    constexpr std::array<std::uint64_t, 3> kEpochs = {1, 0xffff'ffff, 0x1'0000'0001};
    const std::uint64_t high = prng.chance(0.2) ? 0x7'0000'0000 : 0;
    return Dot{node(1 + prng.below(4)), {kEpochs[prng.below(3)]}, {high + 1 + prng.below(40)}};
  };
  op.dot = dot();
  op.stamp = {prng.below(60)};
  op.kind = static_cast<OpKind>(prng.below(kOpKinds));
  op.path = kPaths[prng.below(kPaths.size())];
  const bool element = has_elements(family(op));
  if (element || (op.kind != OpKind::kCounter && prng.chance(0.8))) op.value = Buffer(prng.below(4), 'v');
  if (op.kind == OpKind::kAppend) op.plus = 1 + prng.below(3);
  if (op.kind == OpKind::kCounter) op.plus = prng.below(100), op.minus = prng.below(100);
  if (shape_of(op.kind).replaces) {
    std::map<NodeId, Dot> replaced;
    for (std::uint64_t i = prng.below(4); i > 0; --i) {
      const Dot one = dot();
      replaced.insert_or_assign(one.origin, one);
    }
    for (const auto& [origin, one] : replaced) op.replaces.push_back(one);
  }
  for (auto& byte : op.signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
  return op;
}

std::vector<Dot> sorted(std::vector<Dot> dots) {
  std::ranges::sort(dots);
  return dots;
}

void expect_same(const Replica& replica, const Model& model, Prng& prng) {
  RC_ASSERT(replica.living().size() == model.living.size());
  auto expected = model.living.begin();
  for (const auto& [dot, op] : replica.living()) {
    RC_ASSERT((dot == expected->first && op.copy() == expected->second));
    RC_ASSERT(encode_op(op) == encode_op(expected->second));
    ++expected;
  }
  const std::string prefix = prng.chance(0.5) ? "" : kPaths[prng.below(kPaths.size())];
  std::vector<std::pair<std::string, Value>> visited;
  replica.for_each(prefix, [&](const std::string& path, const Value& value) { visited.emplace_back(path, value); });
  const auto values = model.values(prefix);
  RC_ASSERT(visited == (std::vector<std::pair<std::string, Value>>(values.begin(), values.end())));
  for (const std::string& path : kPaths) RC_ASSERT(replica.read(path) == model.read(path));

  const Dot dot = any_op(prng).dot;
  const auto lower = replica.living().lower_bound(dot);
  const auto upper = replica.living().upper_bound(dot);
  const auto lower_there = model.living.lower_bound(dot);
  const auto upper_there = model.living.upper_bound(dot);
  const Dot none;
  RC_ASSERT((lower == replica.living().end() ? none : lower->first) ==
            (lower_there == model.living.end() ? none : lower_there->first));
  RC_ASSERT((upper == replica.living().end() ? none : upper->first) ==
            (upper_there == model.living.end() ? none : upper_there->first));
  RC_ASSERT(replica.living().contains(dot) == model.living.contains(dot));

  std::map<std::pair<Hlc, Dot>, std::string> tombstones;
  for (const auto& [each, op] : model.living) {
    if (is_tombstone(op)) tombstones[{op.stamp, each}] = op.path;
  }
  RC_ASSERT(replica.tombstones() == tombstones.size());
  const Hlc from{prng.below(60)}, upto{prng.below(60)};
  const auto oldest = tombstones.lower_bound({from, Dot{}});
  RC_ASSERT(replica.has_tombstone(from, upto) == (oldest != tombstones.end() && oldest->first.first < upto));
}

TEST(ReplicaModel, any_writes_in_any_order_repeated_and_withdrawn_are_as_the_plainest_replica_has_them) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    Replica replica;
    Model model;
    std::vector<Op> ops;
    for (std::uint64_t step = 20 + prng.below(200); step > 0; --step) {
      if (!model.living.empty() && prng.chance(0.1)) {
        const Dot dot =
            std::next(model.living.begin(), static_cast<std::ptrdiff_t>(prng.below(model.living.size())))->first;
        RC_ASSERT(replica.withdraw(dot));
        RC_ASSERT(!replica.withdraw(dot));
        model.living.erase(dot);
        continue;
      }
      const Op op = !ops.empty() && prng.chance(0.3) ? ops[prng.below(ops.size())] : any_op(prng);
      ops.push_back(op);
      const auto merged = replica.apply(op);
      const MergeResult expected = model.apply(op);
      RC_ASSERT((merged.has_value() && merged->outcome == expected.outcome));
      RC_ASSERT(sorted(merged->ended) == sorted(expected.ended));
      if (prng.chance(0.1)) expect_same(replica, model, prng);
    }
    expect_same(replica, model, prng);

    // Digest and room are those of the living writes alone.
    Replica again;
    std::vector<Op> living;
    for (const auto& [dot, op] : model.living) living.push_back(op);
    prng.shuffle(living);
    for (const Op& op : living) RC_ASSERT(again.apply(op)->outcome == Merge::kMerged);
    RC_ASSERT(again.digest() == replica.digest());
    RC_ASSERT(again.bytes() == replica.bytes());
    for (std::uint64_t i = 1; i <= 4; ++i) RC_ASSERT(again.digest_of(node(i)) == replica.digest_of(node(i)));
    for (const Op& op : living) RC_ASSERT(replica.withdraw(op.dot));
    RC_ASSERT((replica.bytes() == 0u && replica.digest() == Digest{} && !replica.read("a")));
  }));
}

std::size_t given() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

struct Load {
  const char* name;
  OpKind kind;
  std::size_t value_bytes;
  std::size_t paths;
  std::size_t replaced;
  bool erased;
};

// Writes of 16 origins in no order, every third one withdrawn again.
TEST(ReplicaModel, what_it_says_it_takes_is_what_the_allocator_gave_to_a_twentieth) {
  constexpr std::size_t kWrites = 30'000;
  constexpr std::array<Load, 7> kLoads = {{{"small values", OpKind::kRegister, 32, kWrites, 0, false},
                                           {"large values", OpKind::kRegister, 4096, kWrites, 0, false},
                                           {"tombstones", OpKind::kRegister, 0, kWrites, 0, true},
                                           {"a set", OpKind::kInsert, 16, 1, 2, false},
                                           {"removed elements", OpKind::kRemove, 16, 1, 1, false},
                                           {"counters", OpKind::kCounter, 0, kWrites, 0, false},
                                           {"logs", OpKind::kAppend, 64, kWrites / 10, 0, false}}};
  for (const Load& load : kLoads) {
    std::vector<std::size_t> order(kWrites);
    for (std::size_t i = 0; i < kWrites; ++i) order[i] = i;
    Prng(7).shuffle(order);
    const std::size_t before = given();
    if (before < 1000) GTEST_SKIP() << "this allocator tells nothing (a sanitizer's)";
    auto replica = std::make_unique<Replica>(Replica::Limits{.bytes_max = 1u << 30});
    std::size_t living = 0;
    for (const std::size_t i : order) {
      Op op;
      op.dot = {node(1 + i % 16), {1}, {1 + i}};
      op.stamp = {1 + i};
      op.kind = load.kind;
      op.path = fmt::format("site/{}", i % load.paths);
      if (load.kind != OpKind::kCounter && !load.erased) {
        op.value = Buffer(load.value_bytes, 'x');
        std::memcpy(op.value->data(), &i, std::min(sizeof i, op.value->size()));
      }
      if (load.kind == OpKind::kAppend) op.plus = 16;
      for (std::size_t n = 0; n < load.replaced; ++n) op.replaces.push_back({node(100 + n), {1}, {1}});
      std::memcpy(op.signature.bytes.data(), &i, sizeof i);
      ASSERT_EQ(replica->apply(op)->outcome, Merge::kMerged);
      if (i % 3 == 0) {
        ASSERT_TRUE(replica->withdraw(op.dot));
      } else {
        ++living;
      }
    }
    ASSERT_EQ(replica->living().size(), living);
    const auto truth = static_cast<double>(given() - before);
    const auto said = static_cast<double>(replica->bytes());
    EXPECT_NEAR(said / truth, 1, 0.05) << load.name << ": it says " << said / static_cast<double>(living)
                                       << " bytes a write, " << truth / static_cast<double>(living) << " were given";
    replica.reset();
    EXPECT_LT(given(), before + 100'000) << load.name << ": more than caches of the allocator";
  }
}

}  // namespace
}  // namespace sedge::crdt
