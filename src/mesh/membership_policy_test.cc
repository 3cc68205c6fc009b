// Fleets under each rule of mesh/overlay.h: they form, hear everybody, replace who dies, and are one again after a
// split.
#include <algorithm>
#include <memory>

#include <gtest/gtest.h>

#include "mesh/test_world.h"

namespace sedge::mesh {
namespace {

using test::World;

constexpr std::string_view kPolicies[] = {"partial", "full", "nearest", "ring", "star", "hierarchy"};

// n nodes in three zones, with node 0 as their seed, for so long.
std::unique_ptr<World> formed(std::string_view policy, std::size_t n, Duration time = 40s) {
  auto owned = std::make_unique<World>(n, 1, 0.01);
  World& world = *owned;
  world.overlay = parse_overlay(policy).value();
  for (std::size_t i = 0; i < n; ++i) {
    world.nodes[i].zone = fmt::format("zone-{}", i % 3);
    world.boot(i, {0});
  }
  world.run(time);
  return owned;
}

std::vector<std::size_t> gateways_of(const World& world) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < world.nodes.size(); ++i) {
    const World::Node& node = world.nodes[i];
    if (node.up && node.membership->gateway(node.identity->id)) all.push_back(i);
  }
  return all;
}

std::size_t most_links(const World& world) {
  std::size_t most = 0;
  for (const World::Node& node : world.nodes) most = std::max(most, node.up ? node.links.size() : 0);
  return most;
}

std::size_t all_links(const World& world) {
  std::size_t ends = 0;
  for (const World::Node& node : world.nodes) ends += node.up ? node.links.size() : 0;
  return ends / 2;
}

void expect_heard_by_all(World& world, std::size_t from, const std::string& topic) {
  ASSERT_TRUE(world.nodes[from].pubsub->publish(topic, as_bytes("x"), {true, env::Priority::kNormal}, world.now()));
  world.pump(from);
  world.run(3s);
  for (std::size_t i = 0; i < world.nodes.size(); ++i) {
    if (i == from || !world.nodes[i].up) continue;
    EXPECT_EQ(std::ranges::count(world.nodes[i].got, topic + "=x"), 1) << "node " << i;
  }
}

TEST(OverlayPolicies, each_forms_one_fleet_in_which_all_are_heard_by_all) {
  for (const std::string_view policy : kPolicies) {
    SCOPED_TRACE(policy);
    const auto world_owned = formed(policy, 24);
    World& world = *world_owned;
    EXPECT_TRUE(world.one_view());
    expect_heard_by_all(world, 5, "t");
  }
}

TEST(OverlayPolicies, only_links_that_somebody_wants_stay) {
  const auto ring_owned = formed("ring", 30);
  World& ring = *ring_owned;
  EXPECT_LE(most_links(ring), 12u);
  const auto star_owned = formed("star:1", 30);
  World& star = *star_owned;
  ASSERT_EQ(gateways_of(star).size(), 1u);
  EXPECT_EQ(star.nodes[gateways_of(star)[0]].links.size(), 29u);
  EXPECT_EQ(all_links(star), 29u);
  const auto full_owned = formed("full", 30);
  World& full = *full_owned;
  EXPECT_EQ(all_links(full), 30u * 29 / 2);
  const auto partial_owned = formed("partial:3", 30);
  World& partial = *partial_owned;
  EXPECT_LE(most_links(partial), 4u);
}

TEST(OverlayPolicies, each_is_one_fleet_again_after_a_split) {
  for (const std::string_view policy : kPolicies) {
    SCOPED_TRACE(policy);
    const auto world_owned = formed(policy, 18);
    World& world = *world_owned;
    world.partition({0, 1, 2, 3, 4, 5, 6});
    world.run(10s);
    EXPECT_FALSE(world.one_view());
    world.heal();
    world.run(40s);
    EXPECT_TRUE(world.one_view());
    expect_heard_by_all(world, 3, "again");
  }
}

TEST(OverlayPolicies, a_dead_gateway_is_replaced_everywhere) {
  for (const std::string_view policy : {"star", "star:1", "hierarchy"}) {
    SCOPED_TRACE(policy);
    const auto world_owned = formed(policy, 18);
    World& world = *world_owned;
    const std::vector<std::size_t> before = gateways_of(world);
    for (const std::size_t gateway : before) world.kill(gateway);
    world.run(10s);
    EXPECT_TRUE(world.one_view());
    const std::vector<std::size_t> after = gateways_of(world);
    EXPECT_EQ(after.size(), before.size());
    for (std::size_t i = 0; i < 18; ++i) {
      if (world.nodes[i].up) expect_heard_by_all(world, i, fmt::format("from/{}", i));
    }
  }
}

TEST(OverlayPolicies, members_that_die_together_with_all_their_neighbours_are_noticed) {
  for (const std::string_view policy : {"star", "hierarchy", "ring"}) {
    SCOPED_TRACE(policy);
    const auto world_owned = formed(policy, 24);
    World& world = *world_owned;
    std::set<std::size_t> victims;
    for (const std::size_t gateway : gateways_of(world)) victims.insert(gateway);
    for (std::size_t i = 0; victims.size() < 12; ++i) victims.insert(i);
    for (const std::size_t victim : victims) world.kill(victim);
    world.run(60s);
    EXPECT_TRUE(world.one_view());
  }
}

TEST(OverlayPolicies, the_strongest_that_has_run_for_a_while_becomes_the_gateway) {
  World world(12, 1);
  world.overlay = parse_overlay("star:1").value();
  world.nodes[7].gateway_rank = 9;
  for (std::size_t i = 0; i < 12; ++i) {
    if (i != 7) world.boot(i, {0});
  }
  world.run(100s);
  world.boot(7, {0});
  world.run(30s);
  EXPECT_NE(gateways_of(world), std::vector<std::size_t>{7});  // it may be starting again and again
  world.run(100s);
  EXPECT_EQ(gateways_of(world), std::vector<std::size_t>{7});
  EXPECT_EQ(world.nodes[7].links.size(), 11u);
}

TEST(OverlayPolicies, who_calls_a_leaf_finds_the_gateways_and_leaves_it_alone_again) {
  const auto world_owned = formed("star", 20, 120s);
  World& world = *world_owned;
  const std::vector<std::size_t> gateways = gateways_of(world);
  std::size_t leaf = 1;
  while (std::ranges::find(gateways, leaf) != gateways.end()) ++leaf;
  world.kill(19);
  world.kill(18);
  world.run(10s);
  world.boot(18, {leaf});
  world.boot(19, {leaf});
  world.run(30s);
  EXPECT_TRUE(world.one_view());
  // A link at random now and then is no surplus yet.
  for (int second = 0; second < 60 && world.nodes[leaf].links.size() != 2; ++second) world.run(1s);
  EXPECT_EQ(world.nodes[leaf].links.size(), 2u);
}

TEST(OverlayPolicies, nodes_of_different_rules_are_one_fleet) {
  World world(18, 1);
  for (std::size_t i = 0; i < 18; ++i) {
    world.overlay = parse_overlay(kPolicies[i % std::size(kPolicies)]).value();
    world.boot(i, {0});
  }
  world.run(40s);
  EXPECT_TRUE(world.one_view());
  for (std::size_t i = 0; i < 6; ++i) expect_heard_by_all(world, i, fmt::format("from/{}", i));
}

// Whoever calls gets a link; beyond the bound drawn ones are closed, so that a crowd cannot fill a node up.
TEST(OverlayPolicies, a_node_with_a_full_table_of_links_answers_newcomers_and_stays_within_its_bound) {
  constexpr std::size_t kCrowd = kOverlayLinksMax + 44;
  const test::Fleet fleet(1);
  const trust::Directory directory = fleet.directory();
  Membership::Options options;
  options.self = fleet.nodes[0].id;
  options.overlay = parse_overlay("ring").value();
  Membership node(options, fleet.nodes[0].keys.secret, directory);
  Instant now{};
  node.start(now);
  std::size_t answered = 0;
  std::set<NodeId> links;
  const auto drain = [&] {
    env::Outbox out;
    node.drain(out);
    for (const env::Send& send : out.sends) {
      const auto opened = wire::open_frame(send.frame);
      answered += opened && opened->type == wire::MessageType::kMemberGossip ? 1 : 0;
    }
    for (const env::Hangup& hangup : out.hangups) {
      links.erase(hangup.peer);
      node.on_link_down(hangup.peer, hangup.reason, now);
    }
  };
  const auto call = [&](std::size_t i) {
    NodeId id;
    id.bytes[0] = static_cast<std::uint8_t>(i);
    id.bytes[1] = static_cast<std::uint8_t>(i >> 8);
    id.bytes[2] = 1;
    links.insert(id);
    node.on_link_up({id, env::Endpoint::v4(10, 1, id.bytes[1], id.bytes[0], 7334), false, {}}, now);
    const Buffer nothing = wire::encode(wire::MemberSync{true, ~std::uint64_t{0}, {}});
    EXPECT_TRUE(node.on_message(id, wire::MessageType::kMemberSync, nothing, now));
    drain();
  };
  for (std::size_t i = 0; i < kCrowd; ++i) call(i);
  for (int tick = 0; tick < 100; ++tick) {
    now += 100ms;
    for (const NodeId id : links) node.on_heard(id, now);
    node.on_timer(now);
    drain();
  }
  EXPECT_EQ(answered, kCrowd);  // its own record, to each
  EXPECT_EQ(links.size(), kOverlayLinksMax);
  call(kCrowd);
  EXPECT_EQ(answered, kCrowd + 1);
}

}  // namespace
}  // namespace sedge::mesh
