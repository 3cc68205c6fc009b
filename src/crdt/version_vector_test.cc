#include "crdt/version_vector.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::crdt {
namespace {

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}
Dot dot(std::uint8_t origin, std::uint64_t epoch, std::uint64_t sequence) {
  return {node(origin), {epoch}, {sequence}};
}
DotRange range(std::uint8_t origin, std::uint64_t epoch, std::uint64_t first, std::uint64_t last) {
  return {node(origin), {epoch}, {first}, {last}};
}

Dot any_dot() {
  return dot(*rc::gen::inRange<std::uint8_t>(1, 3), *rc::gen::inRange<std::uint64_t>(1, 3),
             *rc::gen::inRange<std::uint64_t>(1, 30));
}

std::set<Dot> expand(const std::vector<DotRange>& ranges) {
  std::set<Dot> dots;
  for (const DotRange& r : ranges) {
    for (std::uint64_t s = r.first.value; s <= r.last.value; ++s) dots.insert({r.origin, r.epoch, {s}});
  }
  return dots;
}

TEST(VersionVector, holds_exactly_the_dots_added_and_minus_is_the_difference) {
  EXPECT_TRUE(rc::check([] {
    VersionVector a, b;
    std::set<Dot> in_a, in_b;
    for (int i = *rc::gen::inRange(0, 60); i > 0; --i) {
      const Dot to_a = any_dot();
      const Dot to_b = any_dot();
      a.add(to_a);
      in_a.insert(to_a);
      b.add(to_b);
      in_b.insert(to_b);
    }
    for (int i = 0; i < 20; ++i) {
      const Dot probe = any_dot();
      RC_ASSERT(a.contains(probe) == in_a.contains(probe));
    }
    std::set<Dot> wanted;
    std::ranges::set_difference(in_a, in_b, std::inserter(wanted, wanted.end()));
    RC_ASSERT(expand(a.minus(b, 1000)) == wanted);
  }));
}

TEST(VersionVector, a_life_is_complete_up_to_a_dot_when_nothing_before_it_is_missing) {
  EXPECT_TRUE(rc::check([] {
    VersionVector known;
    std::set<Dot> in;
    for (int i = *rc::gen::inRange(0, 60); i > 0; --i) {
      const Dot one = any_dot();
      known.add(one);
      in.insert(one);
    }
    const Dot upto = any_dot();
    bool complete = true;
    for (std::uint64_t s = 1; s <= upto.sequence.value; ++s) complete &= in.contains({upto.origin, upto.epoch, {s}});
    RC_ASSERT(known.complete(upto) == complete);
    bool holes = false;
    for (const Dot& one : in) {
      holes |= one.sequence.value > 1 && !in.contains({one.origin, one.epoch, {one.sequence.value - 1}});
    }
    RC_ASSERT(known.has_holes() == holes);
  }));
}

TEST(VersionVector, a_cover_is_believed_only_below_a_dot_that_its_origin_signed) {
  VersionVector known;
  EXPECT_FALSE(known.cover(range(1, 1, 1, 100)));
  known.add(dot(1, 2, 10));
  EXPECT_TRUE(known.cover(range(1, 2, 3, 1'000'000)));
  EXPECT_TRUE(known.contains(dot(1, 2, 3)));
  EXPECT_FALSE(known.contains(dot(1, 2, 2)));
  EXPECT_FALSE(known.contains(dot(1, 2, 11)));
  EXPECT_TRUE(known.cover(range(1, 1, 1, 50)));   // an earlier life: its origin writes there no more
  EXPECT_FALSE(known.cover(range(1, 3, 1, 50)));  // a later one
  EXPECT_FALSE(known.cover(range(1, 2, 0, 5)));
  EXPECT_FALSE(known.cover(range(1, 2, 9, 5)));
  EXPECT_FALSE(known.cover(range(1, 2, 3, 10)));  // nothing new
}

TEST(VersionVector, stays_bounded_against_an_origin_that_leaves_holes_on_purpose) {
  VersionVector known;
  for (std::uint64_t i = 1; i < 5000; ++i) known.add(dot(1, 1, 2 * i));
  EXPECT_EQ(known.row(node(1))->epochs.at({1}).ranges().size(), VersionVector::kRangesMax);
  for (std::uint64_t epoch = 2; epoch < 5000; ++epoch) known.add(dot(1, epoch, 1));
  EXPECT_EQ(known.row(node(1))->epochs.size(), VersionVector::kEpochsMax);
  EXPECT_TRUE(known.contains(dot(1, 1, 1)));  // before the floor
  EXPECT_EQ(known.minus({}, 10).size(), 10u);
}

TEST(VersionVector, the_ends_of_the_number_range_are_ordinary) {
  constexpr std::uint64_t kTop = ~std::uint64_t{0};
  VersionVector known;
  known.add(dot(1, kTop, kTop));
  known.add(dot(1, kTop, kTop - 1));
  known.add(dot(1, kTop, 1));
  EXPECT_TRUE(known.cover(range(1, kTop, 1, kTop)));
  EXPECT_EQ(known.row(node(1))->epochs.at({kTop}).ranges().size(), 1u);
  EXPECT_EQ(known.minus({}, 10), (std::vector{range(1, kTop, 1, kTop)}));
}

}  // namespace
}  // namespace sedge::crdt
