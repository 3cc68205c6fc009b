// The audit of whole nodes: disks that lose power, links that lose packets, one home that was tampered with.
#include <algorithm>

#include <gtest/gtest.h>

#include "sim/world.h"

namespace sedge::sim {
namespace {

using Kind = trust::AuditFinding::Kind;

WorldOptions fleet_of(std::size_t nodes, std::uint64_t seed) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  options.link.loss = 0.02;
  options.models = {{"sim", 4000, 400, 8}};
  return options;
}

bool settle(World& world) {
  EXPECT_TRUE(world.boot_all());
  return world.run_until([&] { return world.one_view() && world.one_state(); }, 15s);
}

void ask(World& world, std::size_t i, std::size_t* ended) {
  world.act(i, [&](node::Node& node, Instant now) {
    node::TaskRequest request;
    request.spec.model = "sim";
    request.spec.prompt = "where is the field?";
    node::RunOptions callbacks;
    callbacks.on_result = [ended](const node::TaskResult&) { ++*ended; };
    node.run(std::move(request), std::move(callbacks), now);
  });
}

// Node i fetches everybody's chain; how many came whole in transport.
std::size_t fetch_all(World& world, std::size_t i) {
  std::size_t ended = 0, came = 0;
  for (std::size_t other = 0; other < world.size(); ++other) {
    if (other == i) continue;
    world.act(i, [&](node::Node& node, Instant now) {
      node.audit_pull(
          world.id(other),
          [&](const Status& status) {
            ++ended;
            came += status ? 1 : 0;
          },
          now);
    });
  }
  EXPECT_TRUE(world.run_until([&] { return ended == world.size() - 1; }, 60s));
  return came;
}

std::vector<node::Auditor::Row> rows(World& world, std::size_t i) {
  std::vector<node::Auditor::Row> all;
  world.act(i, [&](node::Node& node, Instant) { all = node.auditor().rows(); });
  return all;
}

TEST(Audit, an_honest_fleet_never_contradicts_itself_whatever_the_power_does) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    World world(fleet_of(4, seed));
    ASSERT_TRUE(settle(world));
    std::size_t ended = 0;
    for (std::uint64_t round = 0; round < 8; ++round) {
      for (std::size_t i = 0; i < 4; ++i) ask(world, i, &ended);
      world.run(300ms + Duration(static_cast<std::int64_t>(seed * 7 + round * 41) * 1'000'000));
      const std::size_t victim = 1 + round % 3;
      if (round % 2 == 0)
        world.cut_power(victim);
      else
        world.cut_power_within_commit(victim, round);
      world.run(2s);
      if (world.up(victim)) world.cut_power(victim);
      ASSERT_TRUE(world.boot(victim));
      ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 15s));
      EXPECT_EQ(fetch_all(world, 0), 3u);
      for (const node::Auditor::Row& row : rows(world, 0)) {
        EXPECT_TRUE(row.findings.empty()) << "seed " << seed << " round " << round;
      }
    }
    EXPECT_TRUE(world.node(0).auditor().proofs().empty()) << "seed " << seed;
  }
}

TEST(Audit, each_inference_is_told_by_its_owner_and_by_who_served_it) {
  WorldOptions options = fleet_of(3, 5);
  options.models_from = 2;
  World world(options);
  ASSERT_TRUE(settle(world));
  std::size_t ended = 0;
  ask(world, 0, &ended);
  ASSERT_TRUE(world.run_until([&] { return ended == 1; }, 5s));
  world.run(1s);
  EXPECT_EQ(fetch_all(world, 1), 2u);
  std::vector<trust::AuditInference> told;
  for (const std::size_t i : {0u, 2u}) {
    for (const trust::AuditEntry& entry : world.node(1).auditor().entries_of(world.id(i))) {
      if (entry.kind != static_cast<std::uint32_t>(trust::AuditKind::kInference)) continue;
      told.push_back(wire::decode<trust::AuditInference>(entry.body).value());
    }
  }
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].task, told[1].task);
  EXPECT_EQ(told[0].prompt, told[1].prompt);
  EXPECT_EQ(told[0].prompt, trust::digest(as_bytes("where is the field?")));
  EXPECT_EQ(told[0].model_hash, told[1].model_hash);
  EXPECT_FALSE(told[0].model_hash.empty());
  for (const trust::AuditInference& one : told) {
    EXPECT_EQ(one.owner, world.id(0));
    EXPECT_EQ(one.server, world.id(2));
    EXPECT_EQ(one.tokens, told[0].tokens);
    EXPECT_GT(one.tokens, 0u);
  }
  EXPECT_EQ(told[0].outcome, "answered");
  EXPECT_EQ(told[1].outcome, "stop");
}

TEST(Audit, heads_reach_everybody_and_a_disk_that_was_emptied_contradicts_them) {
  World world(fleet_of(3, 6));
  ASSERT_TRUE(settle(world));
  std::size_t ended = 0;
  for (int i = 0; i < 5; ++i) ask(world, 2, &ended);
  world.run(100s);  // heads are told once a minute or so
  world.kill(2);
  world.lose_disk(2);
  world.run(5s);
  ASSERT_TRUE(world.boot(2));
  world.kill(2);  // an epoch that was used already is another story (kClone)
  ASSERT_TRUE(world.boot(2));
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 20s));
  for (int i = 0; i < 5; ++i) ask(world, 2, &ended);
  world.run(2s);
  EXPECT_EQ(fetch_all(world, 1), 2u) << "it was never asked before: it knows by the heads alone";
  bool found = false;
  for (const node::Auditor::Row& row : rows(world, 1)) {
    EXPECT_TRUE(row.node == world.id(2) || row.findings.empty());
    for (const trust::AuditFinding& finding : row.findings) {
      found |= finding.kind == Kind::kEquivocation || finding.kind == Kind::kBehind;
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace sedge::sim
