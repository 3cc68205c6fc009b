// Consensus on whole nodes: agreed values stay linearizable while leaders crash and the fleet is split.
#include <gtest/gtest.h>

#include "sim/agreeing.h"
#include "sim/test_agree.h"
#include "sim/world.h"

namespace sedge::sim {
namespace {

WorldOptions fleet_of(std::size_t nodes, std::uint64_t seed, double loss = 0.01) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  options.link.loss = loss;
  options.consensus = true;
  return options;
}

std::optional<std::size_t> leader(const World& world) {
  for (std::size_t i = 0; i < world.size(); ++i) {
    if (world.up(i) && world.node(i).group().raft().leads_settled()) return i;
  }
  return std::nullopt;
}

bool voters_are(const World& world, std::size_t count) {
  for (std::size_t i = 0; i < world.size(); ++i) {
    if (world.up(i) && world.node(i).group().lead().voters.size() != count) return false;
  }
  return true;
}

bool formed(World& world, std::size_t voters) {
  EXPECT_TRUE(world.boot_all());
  return world.run_until([&] { return world.one_view() && voters_are(world, voters); }, 60s);
}

Result<consensus::Agreed> agree(World& world, std::size_t i, wire::AgreedOp op, std::string path,
                                std::string_view value = {}) {
  return agree(world, i, op, std::move(path), value, 5s);
}

TEST(Consensus, five_of_twelve_nodes_vote_and_all_agree) {
  World world(fleet_of(12, 1));
  ASSERT_TRUE(formed(world, 5));
  for (std::size_t i = 0; i < 12; ++i) {
    const auto written = agree(world, i, wire::AgreedOp::kSet, "x", std::to_string(i));
    ASSERT_TRUE(written) << written.error().message;
    const auto read = agree(world, (i + 5) % 12, wire::AgreedOp::kGet, "x");
    ASSERT_TRUE(read);
    EXPECT_EQ(as_text(read->value), std::to_string(i));
  }
}

TEST(Consensus, the_death_of_the_leader_is_survived) {
  World world(fleet_of(7, 2));
  ASSERT_TRUE(formed(world, 5));
  ASSERT_TRUE(agree(world, 3, wire::AgreedOp::kSet, "x", "before"));
  const std::size_t old = *leader(world);
  world.cut_power(old);
  const std::size_t asker = (old + 1) % 7;
  const auto read = agree(world, asker, wire::AgreedOp::kGet, "x", {}, 10s);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(as_text(read->value), "before");
  ASSERT_TRUE(world.boot(old));
  EXPECT_TRUE(world.run_until([&] { return world.one_view(); }, 20s));
  ASSERT_TRUE(agree(world, old, wire::AgreedOp::kSet, "x", "after"));
}

TEST(Consensus, a_voter_that_was_revoked_is_put_out_of_the_group) {
  World world(fleet_of(5, 12));
  ASSERT_TRUE(formed(world, 5));
  const std::size_t gone = (*leader(world) + 1) % 5, issuer = (gone + 1) % 5;
  world.act(issuer, [&](node::Node& node, Instant now) {
    const std::string path = std::string(trust::kRevocationPath) + world.id(gone).hex();
    EXPECT_TRUE(node.state().insert(path, world.revocation(gone, {}), now));
  });
  const auto put_out = [&] {
    const auto at = leader(world);
    if (!at || *at == gone) return false;
    const auto& parts = world.node(*at).group().raft().configuration();
    return !std::ranges::binary_search(parts.voters, world.id(gone));
  };
  EXPECT_TRUE(world.run_until(put_out, 20s)) << "its vote would be missed for ever";
}

TEST(Consensus, a_minority_is_told_what_is_missing) {
  World world(fleet_of(5, 3));
  ASSERT_TRUE(formed(world, 5));
  world.partition({0, 1});
  world.run(10s);
  const auto refused = agree(world, 0, wire::AgreedOp::kSet, "x", "in vain", 3s);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_NE(refused.error().message.find("2 of 5 voters"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(agree(world, 3, wire::AgreedOp::kSet, "x", "by three"));
}

TEST(Consensus, a_voter_dead_for_minutes_is_replaced) {
  World world(fleet_of(7, 4));
  ASSERT_TRUE(formed(world, 5));
  const auto voters = world.node(0).group().lead().voters;
  const std::size_t victim =
      *world.index_of(voters.back() == world.id(*leader(world)) ? voters.front() : voters.back());
  world.cut_power(victim);
  const auto replaced = [&] {
    const auto at = leader(world);
    if (!at) return false;
    const auto now = world.node(*at).group().lead().voters;
    return now.size() == 5 && std::ranges::find(now, world.id(victim)) == now.end();
  };
  world.run(2min);
  EXPECT_FALSE(replaced()) << "it may come back";
  EXPECT_TRUE(world.run_until(replaced, 5min));
}

// Clients everywhere while voters lose power, leaders are cut off or stand still for longer than their lease, the fleet
// is split, and no two clocks run alike: a leader that wakes must not answer from what it knew when it fell asleep.
void torment(std::uint64_t seed) {
  WorldOptions options = fleet_of(6, seed, 0.02);
  options.clock_drift_ppm = 1000;
  World world(options);
  ASSERT_TRUE(formed(world, 5)) << "seed " << seed;
  Prng chance(seed);
  Agreeing clients(seed);
  std::vector<Instant> asleep_until(6);
  const auto awake = [&](std::size_t i) { return world.up(i) && world.now() >= asleep_until[i]; };
  for (int step = 0; step < 80; ++step) {
    const auto lead = leader(world);
    if (step % 4 == 1 && lead && awake(*lead)) {
      const Duration time = 500ms + Duration(static_cast<std::int64_t>(chance.below(2'500'000'000)));
      asleep_until[*lead] = world.now() + time;
      world.stall(*lead, time);
    }
    if (step % 20 == 5 && lead) world.cut_power(*lead);
    if (step % 20 == 10 && lead) world.partition({*lead});
    if (step % 20 == 15) {
      world.heal();
      for (std::size_t i = 0; i < 6; ++i) {
        if (!world.up(i)) {
          ASSERT_TRUE(world.boot(i));
        }
      }
    }
    for (std::size_t i = 0; i < 6; ++i) {
      if (awake(i) && chance.chance(0.4)) clients.ask(world, i);
    }
    world.run(Duration(static_cast<std::int64_t>(chance.below(800'000'000))));
  }
  const Agreeing::Outcome outcome = clients.judge();
  EXPECT_FALSE(outcome.unexplained.has_value()) << "seed " << seed << " path " << *outcome.unexplained;
  EXPECT_GT(outcome.answered, 50U);
}

TEST(Consensus, histories_are_linearizable_across_crashes_stalls_and_splits) {
  for (std::uint64_t seed = 1; seed <= 12 && !HasFailure(); ++seed) torment(seed);
}

}  // namespace
}  // namespace sedge::sim
