#include "crdt/replica.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/prng.h"

namespace sedge::crdt {
namespace {

using Values = std::vector<Buffer>;

Buffer text(std::string_view words) { return to_buffer(as_bytes(words)); }
NodeId node(std::uint64_t number) {
  NodeId id;
  id.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}

// A node as far as replicas are concerned: writes with right context, and merges. Signatures are stand-ins, different
// for different dots.
struct Writer {
  explicit Writer(std::uint64_t number) : id(node(number)) {}
  NodeId id;
  Replica replica;
  HybridClock clock;
  std::uint64_t sequence = 0;

  Op write(OpKind kind, const std::string& path, std::optional<Buffer> value, std::int64_t change, std::uint64_t ms) {
    Op op;
    op.dot = {id, {1}, {++sequence}};
    op.stamp = clock.next(ms);
    op.kind = kind;
    op.path = path;
    op.value = std::move(value);
    op.replaces = replica.replaced_by(kind, path, op.value);
    if (kind == OpKind::kCounter) {
      if (const auto before = replica.counter_of(path, id)) op.plus = before->plus, op.minus = before->minus;
      (change < 0 ? op.minus : op.plus) += static_cast<std::uint64_t>(std::abs(change));
    }
    if (kind == OpKind::kAppend) op.plus = static_cast<std::uint64_t>(change);
    Prng prng(sequence * 256 + id.bytes[15]);
    for (auto& byte : op.signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
    merge(op);
    return op;
  }
  void merge(const Op& op) {
    clock.observe(op.stamp);
    ASSERT_TRUE(replica.apply(op));
  }
};

std::string dump(const Replica& replica) {
  std::string out = fmt::format("{:x}{:x}\n", replica.digest()[0], replica.digest()[1]);
  replica.for_each("", [&](const std::string& path, const Value& value) {
    out += fmt::format("{} {} {} {}", path, family_name(value.family), value.total, value.stamp.value);
    for (const Buffer& bytes : value.values) out += fmt::format(" {}", to_hex(bytes));
    out += '\n';
  });
  for (const auto& [dot, op] : replica.living()) out += dot.text() + ' ';
  return out;
}

// Three origins write all types on few paths while hearing of each other in random order and with gaps.
std::vector<Op> history(Prng& prng, std::size_t writes) {
  std::vector<std::unique_ptr<Writer>> writers;
  for (std::uint64_t i = 0; i < 3; ++i) writers.push_back(std::make_unique<Writer>(i + 1));
  std::vector<Op> ops;
  while (ops.size() < writes) {
    Writer& writer = *writers[prng.below(3)];
    if (!ops.empty() && prng.chance(0.6)) {
      writer.merge(ops[prng.below(ops.size())]);
      continue;
    }
    const auto kind = static_cast<OpKind>(prng.below(kOpKinds));
    const std::string path = fmt::format("{}/{}", family_name(family_of(kind)), prng.below(2));
    std::optional<Buffer> value;
    if (kind != OpKind::kCounter) value = text(fmt::format("{}", prng.below(3)));
    const bool erases = value && !has_elements(family_of(kind)) && prng.chance(0.2);
    const auto change = static_cast<std::int64_t>(prng.below(21)) - 10;
    const std::int64_t keep = prng.chance(0.1) ? 2 : 3;
    ops.push_back(writer.write(kind, prng.chance(0.1) ? "mixed" : path, erases ? std::nullopt : value,
                               kind == OpKind::kAppend ? keep : change, prng.below(50)));
  }
  return ops;
}

std::string after(const std::vector<Op>& ops) {
  Replica replica;
  for (const Op& op : ops) EXPECT_TRUE(replica.apply(op));
  return dump(replica);
}

void merge_into(Replica& to, const Replica& from) {
  std::vector<Op> ops;
  for (const auto& [dot, op] : from.living()) ops.push_back(op.copy());
  for (const Op& op : ops) EXPECT_TRUE(to.apply(op));
}

TEST(Replica, any_order_and_any_repetition_of_the_same_writes_gives_the_same_values) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    std::vector<Op> ops = history(prng, 5 + prng.below(40));
    const std::string expected = after(ops);
    for (int round = 0; round < 5; ++round) {
      std::vector<Op> again = ops;
      for (std::size_t i = prng.below(ops.size()); i > 0; --i) again.push_back(ops[prng.below(ops.size())]);
      prng.shuffle(again);
      RC_ASSERT(after(again) == expected);
    }
  }));
}

TEST(Replica, merging_is_commutative_associative_and_idempotent_over_any_grouping) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    const std::vector<Op> ops = history(prng, 5 + prng.below(40));
    std::vector<std::vector<Op>> groups(3);
    for (const Op& op : ops) groups[prng.below(3)].push_back(op);
    const auto replica_of = [&](std::size_t group) {
      auto replica = std::make_unique<Replica>();
      for (const Op& op : groups[group]) EXPECT_TRUE(replica->apply(op));
      return replica;
    };
    const std::string expected = after(ops);
    // Only what lives travels: replaced writes need not, wherever they were replaced.
    const auto left = replica_of(0);
    merge_into(*left, *replica_of(1));
    merge_into(*left, *replica_of(2));
    const auto right = replica_of(2);
    const auto inner = replica_of(1);
    merge_into(*inner, *replica_of(0));
    merge_into(*right, *inner);
    RC_ASSERT(dump(*left) == expected);
    RC_ASSERT(dump(*right) == expected);
    merge_into(*left, *right);
    merge_into(*left, *left);
    RC_ASSERT(dump(*left) == expected);
  }));
}

TEST(Replica, a_log_keeps_its_newest_entries_in_whatever_order_they_come) {
  Writer a(1), b(2);
  std::vector<Op> ops;
  for (std::uint64_t i = 0; i < 6; ++i) {
    Writer& writer = i % 2 ? b : a;
    ops.push_back(writer.write(OpKind::kAppend, "log", text(std::to_string(i)), 3, 10 + i));
  }
  do {
    Replica replica;
    for (const Op& op : ops) ASSERT_TRUE(replica.apply(op));
    EXPECT_EQ(replica.read("log")->values, (Values{text("3"), text("4"), text("5")}));
    EXPECT_EQ(replica.living().size(), 3u);
  } while (std::next_permutation(ops.begin(), ops.end(),
                                 [](const Op& one, const Op& two) { return one.stamp < two.stamp; }));
}

TEST(Replica, a_cleared_log_is_erased_up_to_then_and_one_that_keeps_another_number_is_another_log) {
  Writer a(1), b(2);
  const Op before = a.write(OpKind::kAppend, "log", text("1"), 3, 10);
  const Op cleared = a.write(OpKind::kAppend, "log", std::nullopt, 3, 20);
  EXPECT_FALSE(a.replica.read("log"));
  EXPECT_EQ(a.replica.keep_of("log"), 3u);
  EXPECT_EQ(a.replica.tombstones(), 1u);
  b.merge(cleared);
  EXPECT_EQ(b.replica.apply(before)->outcome, Merge::kReplaced);
  b.merge(a.write(OpKind::kAppend, "log", text("2"), 3, 30));
  EXPECT_EQ(b.replica.read("log")->values, Values{text("2")});
  b.write(OpKind::kAppend, "log", text("other"), 5, 40);
  const auto value = b.replica.read("log");
  EXPECT_EQ(value->values, Values{text("other")});
  EXPECT_EQ(value->keep, 5u);
  EXPECT_EQ(value->dots.size(), 1u);
}

TEST(Replica, a_register_keeps_the_newest_write_and_can_be_erased) {
  Writer a(1), b(2);
  const Op first = a.write(OpKind::kRegister, "x", text("old"), 0, 10);
  const Op second = b.write(OpKind::kRegister, "x", text("new"), 0, 11);
  a.merge(second);
  b.merge(first);
  EXPECT_EQ(a.replica.read("x")->values, Values(1, text("new")));
  EXPECT_EQ(dump(a.replica), dump(b.replica));
  EXPECT_EQ(a.replica.living().size(), 1u);
  b.merge(a.write(OpKind::kRegister, "x", std::nullopt, 0, 0));
  EXPECT_FALSE(b.replica.read("x"));
  EXPECT_FALSE(b.replica.holds_other("x", Family::kCounter));
}

TEST(Replica, concurrent_writes_of_a_multi_value_register_both_stay_until_one_has_seen_them) {
  Writer a(1), b(2);
  const Op north = a.write(OpKind::kMulti, "order", text("north"), 0, 1);
  const Op south = b.write(OpKind::kMulti, "order", text("south"), 0, 2);
  a.merge(south);
  EXPECT_EQ(a.replica.read("order")->values, (Values{text("north"), text("south")}));
  b.merge(a.write(OpKind::kMulti, "order", text("home"), 0, 3));
  EXPECT_EQ(b.replica.read("order")->values, Values(1, text("home")));
  b.merge(north);  // late: it was replaced already
  EXPECT_EQ(b.replica.living().size(), 1u);
}

TEST(Replica, counters_add_what_all_origins_counted_once) {
  Writer a(1), b(2);
  const Op one = a.write(OpKind::kCounter, "done", std::nullopt, 5, 1);
  const Op two = a.write(OpKind::kCounter, "done", std::nullopt, -2, 2);
  b.write(OpKind::kCounter, "done", std::nullopt, 10, 1);
  b.merge(two);
  b.merge(one);
  b.merge(two);
  EXPECT_EQ(b.replica.read("done")->total, 13);
  EXPECT_EQ(b.replica.living().size(), 2u);
}

TEST(Replica, totals_stay_at_the_ends_of_their_range) {
  Replica replica;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    Op op;
    op.dot = {node(i), {1}, {1}};
    op.kind = OpKind::kCounter;
    op.path = "c";
    op.minus = ~std::uint64_t{0};
    ASSERT_TRUE(replica.apply(op));
  }
  EXPECT_EQ(replica.read("c")->total, -std::numeric_limits<std::int64_t>::max());
}

TEST(Replica, in_a_set_adds_win_over_concurrent_removes_and_a_seen_element_stays_removed) {
  Writer a(1), b(2), c(3);
  const Op added = a.write(OpKind::kInsert, "open", text("e"), 0, 1);
  b.merge(added);
  const Op removed = b.write(OpKind::kRemove, "open", text("e"), 0, 2);
  const Op again = a.write(OpKind::kInsert, "open", text("e"), 0, 3);
  a.merge(removed);
  b.merge(again);
  EXPECT_EQ(a.replica.read("open")->values, Values(1, text("e")));
  EXPECT_EQ(dump(a.replica), dump(b.replica));
  c.merge(a.write(OpKind::kRemove, "open", text("e"), 0, 4));
  for (const Op& late : {added, again, removed}) c.merge(late);
  EXPECT_TRUE(c.replica.read("open")->values.empty());
  EXPECT_EQ(c.replica.living().size(), 1u);  // the tombstone
}

TEST(Replica, what_is_out_of_a_2p_set_stays_out_whoever_inserts_it_before_or_after_in_any_order) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    std::vector<std::unique_ptr<Writer>> writers;
    for (std::uint64_t i = 0; i < 3; ++i) writers.push_back(std::make_unique<Writer>(i + 1));
    std::vector<Op> ops;
    std::set<Buffer> inserted, removed;
    for (std::uint64_t i = 1 + prng.below(20); i > 0; --i) {
      const bool removes = prng.chance(0.3);
      const Buffer element = text(fmt::format("{}", prng.below(4)));
      (removes ? removed : inserted).insert(element);
      const OpKind kind = removes ? OpKind::kRemove2P : OpKind::kInsert2P;
      ops.push_back(writers[prng.below(3)]->write(kind, "s", element, 0, prng.below(50)));
    }
    prng.shuffle(ops);
    Replica replica;
    for (const Op& op : ops) RC_ASSERT(replica.apply(op).has_value());
    Values expected;
    std::ranges::set_difference(inserted, removed, std::back_inserter(expected));
    RC_ASSERT(replica.read("s")->values == expected);
    for (const Buffer& element : inserted) {
      RC_ASSERT(replica.removed_for_good("s", element) == removed.contains(element));
    }
    RC_ASSERT(replica.living().size() == inserted.size() + removed.size() -
                                             static_cast<std::size_t>(std::ranges::count_if(
                                                 inserted, [&](const Buffer& e) { return removed.contains(e); })));
    RC_ASSERT(replica.tombstones() == 0u);  // none of it is ever collected
  }));
}

TEST(Replica, knowledge_of_a_replacement_survives_the_replaced_replacement) {
  Writer a(1), b(2), c(3), d(4);
  const Op first = a.write(OpKind::kMulti, "x", text("1"), 0, 1);
  d.merge(first);
  b.merge(first);
  c.merge(b.write(OpKind::kMulti, "x", text("2"), 0, 2));  // c never had the first
  d.merge(c.write(OpKind::kMulti, "x", text("3"), 0, 3));  // d never has the second
  EXPECT_EQ(d.replica.read("x")->values, Values(1, text("3")));
}

TEST(Replica, nobody_can_end_a_write_that_does_not_exist_yet) {
  Writer a(1);
  Replica replica;
  Op liar;
  liar.dot = {node(2), {1}, {1}};
  liar.stamp = Hlc::at_ms(5);
  liar.kind = OpKind::kMulti;
  liar.path = "x";
  liar.replaces = {{node(1), {~std::uint64_t{0}}, {~std::uint64_t{0}}}};
  ASSERT_TRUE(replica.apply(liar));
  EXPECT_EQ(replica.apply(a.write(OpKind::kMulti, "x", text("later"), 0, 6))->outcome, Merge::kMerged);
}

TEST(Replica, two_writes_with_one_dot_are_a_conflict_with_one_winner_everywhere) {
  Op one;
  one.dot = {node(1), {1}, {1}};
  one.path = "x";
  one.value = text("one");
  one.signature.bytes[0] = 1;
  Op two = one;
  two.path = "y";
  two.signature.bytes[0] = 2;
  Replica forward, backward;
  ASSERT_TRUE(forward.apply(one));
  EXPECT_EQ(forward.apply(two)->outcome, Merge::kConflict);
  ASSERT_TRUE(backward.apply(two));
  EXPECT_EQ(backward.apply(one)->outcome, Merge::kConflict);
  EXPECT_EQ(dump(forward), dump(backward));
}

TEST(Replica, a_full_one_refuses_growth_but_not_replacement) {
  Writer a(1);
  Replica small({.writes_max = 2, .bytes_max = 1u << 20, .origin_part = 1});
  ASSERT_TRUE(small.apply(a.write(OpKind::kRegister, "1", text("x"), 0, 1)));
  ASSERT_TRUE(small.apply(a.write(OpKind::kRegister, "2", text("x"), 0, 2)));
  const std::string before = dump(small);
  const auto refused = small.apply(a.write(OpKind::kRegister, "3", text("x"), 0, 3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  EXPECT_EQ(dump(small), before);
  EXPECT_TRUE(small.apply(a.write(OpKind::kRegister, "2", text("y"), 0, 4)));
}

TEST(Replica, one_writer_cannot_take_the_room_of_all_others) {
  Writer greedy(1), modest(2);
  Replica shared({.writes_max = 10, .bytes_max = 1u << 20});
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto taken = shared.apply(greedy.write(OpKind::kRegister, std::to_string(i), text("x"), 0, i + 1));
    EXPECT_EQ(taken.has_value(), i < 5);
  }
  EXPECT_TRUE(shared.apply(greedy.write(OpKind::kRegister, "3", text("y"), 0, 20))) << "it may replace its own";
  for (std::uint64_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(shared.apply(modest.write(OpKind::kRegister, fmt::format("m{}", i), text("x"), 0, i + 1)));
  }
}

TEST(Replica, a_withdrawn_write_leaves_no_trace_in_values_or_digest) {
  Writer a(1);
  const std::string empty = dump(a.replica);
  const Op op = a.write(OpKind::kInsert, "s", text("e"), 0, 1);
  EXPECT_TRUE(a.replica.withdraw(op.dot));
  EXPECT_FALSE(a.replica.withdraw(op.dot));
  EXPECT_EQ(dump(a.replica), empty);
  EXPECT_EQ(a.replica.bytes(), 0u);
}

TEST(Replica, the_digest_without_tombstones_is_that_of_who_has_collected_them) {
  EXPECT_TRUE(rc::check([](std::uint64_t seed) {
    Prng prng(seed);
    Replica replica;
    for (const Op& op : history(prng, 5 + prng.below(40))) RC_ASSERT(replica.apply(op).has_value());
    const Hlc upto = Hlc::at_ms(prng.below(60));
    const Digest digest = replica.digest_without(upto);
    const auto values = [&replica] {
      std::string out;
      replica.for_each("", [&out](const std::string& path, const Value& value) {
        if (value.values.empty() && has_elements(value.family)) return;  // nothing was ever there, or all was removed
        out += fmt::format("{} {} {}", path, family_name(value.family), value.total);
        for (const Buffer& bytes : value.values) out += fmt::format(" {}", to_hex(bytes));
      });
      return out;
    };
    const std::string before = values();
    const auto none = [](const Dot&) { return false; };
    const std::size_t tombstones = replica.tombstones();
    const std::vector<Dot> over = replica.collectable(upto, 1000, none);
    for (const Dot& dot : over) {
      RC_ASSERT(is_tombstone(replica.living().at(dot)));
      RC_ASSERT(replica.withdraw(dot));
    }
    RC_ASSERT(replica.digest_without(upto) == digest);
    RC_ASSERT(replica.tombstones() == tombstones - over.size());
    RC_ASSERT(values() == before);
  }));
}

TEST(Replica, tombstones_that_are_named_stay_and_those_that_go_are_the_oldest) {
  Writer a(1);
  std::vector<Op> removed;
  for (int i = 0; i < 5; ++i) {
    removed.push_back(
        a.write(OpKind::kRegister, fmt::format("r/{}", i), std::nullopt, 0, 10 + static_cast<unsigned>(i)));
  }
  const auto keep = [&](const Dot& dot) { return dot == removed[1].dot; };
  EXPECT_EQ(a.replica.collectable(Hlc::at_ms(14), 10, keep),
            (std::vector{removed[0].dot, removed[2].dot, removed[3].dot}));
  EXPECT_EQ(a.replica.collectable(Hlc::at_ms(14), 2, keep), (std::vector{removed[0].dot, removed[2].dot}));
  EXPECT_TRUE(a.replica.has_tombstone(Hlc::at_ms(14), Hlc::at_ms(15)));
  EXPECT_FALSE(a.replica.has_tombstone(Hlc::at_ms(15), Hlc::at_ms(99)));
}

TEST(Replica, what_looks_at_each_entry_may_change_the_replica_meanwhile) {
  Writer a(1);
  for (int i = 0; i < 300; ++i) a.write(OpKind::kRegister, fmt::format("r/{:03}", i), text("x"), 0, 1);
  std::vector<std::string> seen;
  a.replica.for_each("r/", [&](const std::string& path, const Value&) {
    seen.push_back(path);
    a.replica.withdraw(a.replica.register_at(path)->dot);
    a.write(OpKind::kRegister, "a/" + path, text("y"), 0, 1);  // before all that is still to come
    if (path == "r/100") a.replica.withdraw(a.replica.register_at("r/101")->dot);
  });
  EXPECT_EQ(seen.size(), 299u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST(ReplicaDeathTest, an_iterator_is_not_used_after_a_change) {
  Writer a(1);
  a.write(OpKind::kRegister, "x", text("x"), 0, 1);
  auto at = a.replica.living().begin();
  const auto late = at;
  a.write(OpKind::kRegister, "y", text("y"), 0, 2);
  EXPECT_DEATH(static_cast<void>(late->first), "changes_");
  EXPECT_DEATH(++at, "changes_");
}

TEST(Replica, entries_of_the_system_find_room_when_all_else_is_full) {
  Writer a(1);
  Replica full({.writes_max = 16, .bytes_max = 1u << 20, .origin_part = 1});
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(full.apply(a.write(OpKind::kRegister, fmt::format("r/{}", i), text("x"), 0, 1)));
  }
  EXPECT_FALSE(full.apply(a.write(OpKind::kRegister, "more", text("x"), 0, 1)));
  EXPECT_TRUE(full.apply(a.write(OpKind::kRegister, "sys/node/x/seen", text("x"), 0, 1)));
  EXPECT_FALSE(full.apply(a.write(OpKind::kRegister, "sys/node/y/seen", text("x"), 0, 1)));
}

}  // namespace
}  // namespace sedge::crdt
