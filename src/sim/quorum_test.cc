// Forced quorums on whole nodes: most voters die, the rest go on by the root's order, and the dead come back.
#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "sim/test_agree.h"
#include "sim/world.h"

namespace sedge::sim {
namespace {

struct Lost {
  explicit Lost(std::uint64_t seed, std::size_t nodes = 5)
      : world([&] {
          WorldOptions options;
          options.nodes = nodes;
          options.seed = seed;
          options.link.loss = 0.01;
          options.consensus = true;
          return options;
        }()) {}

  // Five vote; then three of them lose their power.
  void lose_most(std::size_t agreed = 1) {
    ASSERT_TRUE(world.boot_all());
    const auto formed = [&] {
      for (std::size_t i = 0; i < world.size(); ++i) {
        if (world.node(i).group().lead().voters.size() != 5) return false;
      }
      return world.one_view();
    };
    ASSERT_TRUE(world.run_until(formed, 90s));
    for (std::size_t i = 0; i < agreed; ++i) ASSERT_TRUE(agree(0, wire::AgreedOp::kSet, "x", "before"));
    for (const std::size_t i : {0u, 1u, 2u}) world.cut_power(i);
    world.run(10s);
    EXPECT_FALSE(agree(3, wire::AgreedOp::kSet, "x", "lost")) << "two of five decide nothing";
  }
  wire::ForcedQuorum order_of_the_rest(std::uint64_t number = 1) {
    wire::ForcedQuorum quorum{
        .number = number, .former = world.node(3).group().raft().group(), .group = {4242 + number}};
    for (const std::size_t i : {3u, 4u}) quorum.voters.push_back(world.id(i));
    std::ranges::sort(quorum.voters);
    return quorum;
  }
  Status force(std::size_t i, const wire::ForcedQuorum& quorum) {
    Status begun;
    std::optional<Status> durable;
    world.act(i, [&](node::Node& node, Instant now) {
      begun = node.force_quorum(world.quorum_order(quorum), [&](const Status& status) { durable = status; }, now);
    });
    if (!begun) return begun;
    EXPECT_TRUE(world.run_until([&] { return durable.has_value(); }, 5s));
    return durable.value_or(Status());
  }
  Result<consensus::Agreed> agree(std::size_t i, wire::AgreedOp op, std::string path, std::string_view value = {},
                                  Duration patience = 8s) {
    return sim::agree(world, i, op, std::move(path), value, patience);
  }
  World world;
};

TEST(ForcedQuorum, those_who_are_left_go_on_with_what_was_agreed) {
  Lost fleet(1);
  fleet.lose_most();
  ASSERT_TRUE(fleet.force(3, fleet.order_of_the_rest()));
  const auto read = fleet.agree(4, wire::AgreedOp::kGet, "x");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(as_text(read->value), "before");
  ASSERT_TRUE(fleet.agree(3, wire::AgreedOp::kSet, "x", "after"));
}

TEST(ForcedQuorum, the_dead_who_come_back_commit_nothing_and_obey_when_they_hear_of_it) {
  for (std::uint64_t seed = 2; seed <= 4; ++seed) {
    Lost fleet(seed);
    World& world = fleet.world;
    fleet.lose_most();
    ASSERT_TRUE(fleet.force(4, fleet.order_of_the_rest()));
    ASSERT_TRUE(fleet.agree(3, wire::AgreedOp::kSet, "x", "after"));
    world.partition({3, 4});  // two of the former five, and nobody tells them
    for (const std::size_t i : {0u, 1u}) ASSERT_TRUE(world.boot(i));
    world.run(5s);
    EXPECT_FALSE(fleet.agree(0, wire::AgreedOp::kSet, "x", "of the past")) << "seed " << seed;
    EXPECT_FALSE(fleet.agree(1, wire::AgreedOp::kGet, "x")) << "seed " << seed;
    world.heal();
    ASSERT_TRUE(world.boot(2));
    const auto together = [&] {
      for (std::size_t i = 0; i < 5; ++i) {
        if (world.node(i).group().raft().group().value != 4243) return false;
      }
      return world.one_view();
    };
    ASSERT_TRUE(world.run_until(together, 60s)) << "seed " << seed;
    for (std::size_t i = 0; i < 5; ++i) {
      const auto read = fleet.agree(i, wire::AgreedOp::kGet, "x");
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(as_text(read->value), "after") << "seed " << seed << " node " << i;
    }
  }
}

// The first entries that it gets are of the former group, and name nobody of the new one.
TEST(ForcedQuorum, who_comes_back_to_a_long_log_restarts_at_any_time_and_learns_all_of_it) {
  Lost fleet(8);
  World& world = fleet.world;
  fleet.lose_most(200);
  ASSERT_TRUE(fleet.force(4, fleet.order_of_the_rest()));
  ASSERT_TRUE(fleet.agree(3, wire::AgreedOp::kSet, "x", "after"));
  ASSERT_TRUE(world.boot(0));
  for (int life = 0; life < 12; ++life) {
    world.run(Duration(100ms) * (5 + 5 * life));
    world.cut_power(0);
    ASSERT_TRUE(world.boot(0));
  }
  const auto knows = [&] {
    const auto& raft = world.node(0).group().raft();
    return raft.group().value == 4243 && raft.last_index() >= 200;
  };
  ASSERT_TRUE(world.run_until(knows, 60s));
  const auto read = fleet.agree(0, wire::AgreedOp::kGet, "x");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(as_text(read->value), "after");
}

TEST(ForcedQuorum, a_restart_forgets_neither_the_order_nor_the_new_group) {
  Lost fleet(5);
  fleet.lose_most();
  ASSERT_TRUE(fleet.force(3, fleet.order_of_the_rest()));
  ASSERT_TRUE(fleet.agree(3, wire::AgreedOp::kSet, "x", "after"));
  for (const std::size_t i : {3u, 4u}) fleet.world.cut_power(i);
  fleet.world.run(1s);
  for (const std::size_t i : {3u, 4u}) ASSERT_TRUE(fleet.world.boot(i));
  fleet.world.run(5s);
  const auto read = fleet.agree(4, wire::AgreedOp::kGet, "x");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(as_text(read->value), "after");
}

// Two of the former five come and go with the two that were named; the last one stays away, so that the former group
// has no majority.
TEST(ForcedQuorum, whoever_crashes_when_nothing_is_lost_that_was_agreed_after_the_order) {
  std::uint64_t ever = 0;
  for (std::uint64_t seed = 20; seed < 32; ++seed) {
    SCOPED_TRACE(seed);
    Lost fleet(seed);
    World& world = fleet.world;
    Prng prng(seed);
    fleet.lose_most(1 + prng.below(120));
    ASSERT_TRUE(fleet.force(3, fleet.order_of_the_rest()));
    std::uint64_t tried = 0, agreed = 0;
    for (int step = 0; step < 60; ++step) {
      constexpr std::array<std::size_t, 4> kMovers = {0, 1, 3, 4};
      const std::size_t one = kMovers.at(prng.below(kMovers.size()));
      if (prng.chance(0.3)) {
        if (world.up(one)) {
          world.cut_power(one);
        } else {
          ASSERT_TRUE(world.boot(one));
        }
      } else if (world.up(one)) {
        const bool done = fleet.agree(one, wire::AgreedOp::kSet, "n", std::to_string(++tried), 2s).has_value();
        if (done) agreed = tried;
      }
      world.run(Duration(100ms) * prng.below(20));
    }
    for (const std::size_t i : {0u, 1u, 3u, 4u}) {
      if (!world.up(i)) {
        ASSERT_TRUE(world.boot(i));
      }
    }
    world.run(60s);
    const auto read = fleet.agree(4, wire::AgreedOp::kGet, "n", {}, 30s);
    ASSERT_TRUE(read) << read.error().message;
    const std::uint64_t last = read->value.empty() ? 0 : std::stoull(std::string(as_text(read->value)));
    EXPECT_GE(last, agreed);
    EXPECT_LE(last, tried);
    ever += agreed;
  }
  EXPECT_GT(ever, 0u);
}

TEST(ForcedQuorum, nobody_goes_on_before_all_who_are_named_are_there) {
  Lost fleet(6);
  fleet.lose_most();
  fleet.world.cut_power(4);
  ASSERT_TRUE(fleet.force(3, fleet.order_of_the_rest()));
  EXPECT_FALSE(fleet.agree(3, wire::AgreedOp::kGet, "x")) << "node 4 may have what node 3 has not";
  ASSERT_TRUE(fleet.world.boot(4));
  fleet.world.run(5s);
  EXPECT_TRUE(fleet.agree(3, wire::AgreedOp::kGet, "x"));
}

TEST(ForcedQuorum, only_the_next_order_for_this_group_by_the_root_is_taken) {
  Lost fleet(7);
  fleet.lose_most();
  EXPECT_EQ(fleet.force(3, fleet.order_of_the_rest(2)).error().code, Code::kFailedPrecondition);
  wire::ForcedQuorum other = fleet.order_of_the_rest();
  other.former = {1};
  EXPECT_EQ(fleet.force(3, other).error().code, Code::kFailedPrecondition);
  fleet.world.act(3, [&](node::Node& node, Instant now) {
    Buffer forged = fleet.world.quorum_order(fleet.order_of_the_rest());
    forged.back() ^= 1;
    EXPECT_EQ(node.force_quorum(forged, [](const Status&) {}, now).error().code, Code::kUnauthenticated);
    EXPECT_FALSE(node.state().insert("sys/quorum", forged, now)) << "nor by the road of all entries";
  });
}

}  // namespace
}  // namespace sedge::sim
