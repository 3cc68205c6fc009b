#include "mesh/membership.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "mesh/test_world.h"

namespace sedge::mesh {
namespace {

using Kind = MemberEvent::Kind;
using test::World;

// Boots all nodes with node 0 as their seed and lets them find each other.
void settle(World& world, Duration time = 5s) {
  for (std::size_t i = 0; i < world.nodes.size(); ++i) world.boot(i, {0});
  world.run(time);
}

std::size_t false_deaths(const World& world) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < world.nodes.size(); ++i) n += world.count(i, Kind::kDown);
  return n;
}

// When each survivor said that `victim` is dead, relative to `killed`.
std::vector<Duration> detections(const World& world, std::size_t victim, Instant killed) {
  std::vector<Duration> all;
  for (const World::Node& node : world.nodes) {
    for (const auto& [when, event] : node.events) {
      if (node.up && event.kind == Kind::kDown && event.id == world.nodes[victim].identity->id) {
        all.push_back(when - killed);
        break;
      }
    }
  }
  return all;
}

TEST(Membership, fifty_nodes_with_one_seed_come_to_one_view) {
  World world(50, 1);
  settle(world);
  EXPECT_TRUE(world.one_view());
  for (const World::Node& node : world.nodes) {
    EXPECT_GE(node.membership->neighbours().size(), 5u);
  }
  EXPECT_EQ(false_deaths(world), 0u);
}

// A seed lets go of who is one too many, maybe before it has the table: who so knows nobody waited 2 s.
TEST(Membership, who_comes_to_a_seed_among_many_knows_everybody_soon) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(20, seed);
    settle(world, 1500ms);
    for (const World::Node& node : world.nodes) EXPECT_EQ(node.membership->alive(), 20u) << "seed " << seed;
  }
}

TEST(Membership, a_killed_node_is_known_dead_to_every_survivor_within_three_seconds) {
  for (const std::size_t n : {2u, 5u, 20u}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      World world(n, seed, 0.05);
      settle(world, 5s + Duration(seed * 77'000'000));
      const Instant killed = world.now();
      world.kill(n - 1);
      world.run(3s);
      const auto times = detections(world, n - 1, killed);
      EXPECT_EQ(times.size(), n - 1) << n << " nodes, seed " << seed;
      EXPECT_TRUE(world.one_view()) << n << " nodes, seed " << seed;
    }
  }
}

TEST(Membership, who_dies_together_with_all_its_neighbours_is_noticed) {
  World world(24, 3);
  settle(world, 20s);
  std::vector<std::size_t> victims(1);
  for (std::size_t i = 1; i < 24; ++i) {
    if (world.nodes[0].links.contains(i)) victims.push_back(i);
  }
  ASSERT_LT(victims.size(), 12u);
  for (const std::size_t victim : victims) world.kill(victim);
  world.run(30s);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, a_refused_link_is_the_quickest_verdict) {
  World world(5, 3);
  settle(world);
  const Instant killed = world.now();
  world.kill(2, true);
  world.run(1s);
  EXPECT_EQ(detections(world, 2, killed).size(), 4u);
}

TEST(Membership, five_percent_loss_kills_nobody_in_ten_minutes) {
  World world(10, 7, 0.05, 20ms);
  settle(world);
  world.run(10min);
  EXPECT_EQ(false_deaths(world), 0u);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, a_node_stalled_for_a_second_and_a_half_is_not_declared_dead_and_declares_nobody_dead) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(6, seed, 0.05, 10ms);
    settle(world);
    for (int round = 0; round < 10; ++round) {
      world.stall(static_cast<std::size_t>(round) % 6, 500ms + round * 111ms);
      world.run(2500ms);
    }
    EXPECT_EQ(false_deaths(world), 0u) << "seed " << seed;
    EXPECT_TRUE(world.one_view()) << "seed " << seed;
  }
}

TEST(Membership, a_restarted_node_is_up_again_with_a_higher_epoch) {
  World world(5, 4);
  settle(world);
  world.kill(3);
  world.run(10s);
  EXPECT_EQ(world.nodes[0].membership->find(world.nodes[3].identity->id)->state, MemberState::kDead);
  world.boot(3, {0});
  world.run(1s);
  EXPECT_TRUE(world.one_view());
  EXPECT_EQ(world.nodes[0].membership->find(world.nodes[3].identity->id)->epoch, BootEpoch{2});
}

TEST(Membership, a_restart_quicker_than_the_verdict_is_named_a_restart) {
  World world(5, 5);
  settle(world);
  world.kill(3, true);
  world.run(100ms);
  world.boot(3, {0});
  world.run(3s);
  EXPECT_TRUE(world.one_view());
  EXPECT_EQ(world.count(1, Kind::kRestarted), 1u);
  EXPECT_EQ(world.count(1, Kind::kDown), 0u);
}

TEST(Membership, who_leaves_is_not_called_dead) {
  World world(5, 6);
  settle(world);
  world.nodes[2].membership->leave(world.now());
  world.pump(2);
  world.run(50ms);
  world.kill(2);
  world.run(10s);
  for (const std::size_t i : {0u, 1u, 3u, 4u}) {
    EXPECT_EQ(world.count(i, Kind::kLeft), 1u);
    EXPECT_EQ(world.count(i, Kind::kDown), 0u);
  }
}

// A large frame on a slow link takes seconds: what of it has come is a sign of life.
TEST(Membership, who_is_sending_is_alive_though_no_frame_of_it_is_whole_yet) {
  const auto suspected = [](bool sends) {
    World world(2, 31);
    world.boot(0, {});
    world.boot(1, {0});
    world.run(5s);
    world.partition({1});
    for (int i = 0; i < 25; ++i) {
      world.run(100ms);
      if (sends) world.nodes[0].membership->on_carried(world.fleet.nodes[1].id, world.now());
    }
    return world.count(0, Kind::kSuspect) > 0;
  };
  EXPECT_TRUE(suspected(false));
  EXPECT_FALSE(suspected(true));
}

TEST(Membership, a_split_fleet_is_one_again_soon_after_the_split_ends) {
  World world(12, 8);
  settle(world);
  world.partition({0, 1, 2, 3, 4});
  world.run(60s);
  EXPECT_EQ(world.nodes[0].membership->alive(), 5u);
  EXPECT_EQ(world.nodes[11].membership->alive(), 7u);
  world.heal();
  world.run(16s);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, a_lost_seed_is_dialled_less_and_less_but_for_ever) {
  World world(2, 9);
  world.boot(1, {0});
  world.run(10s);
  EXPECT_GE(world.dials, 5u);
  const std::uint64_t before = world.dials;
  world.run(60s);
  EXPECT_LE(world.dials - before, 30u);
  world.boot(0, {});
  world.run(6s);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, a_copied_home_is_named_and_only_one_of_the_two_goes_on) {
  World world(5, 10);
  world.nodes[4].identity = &world.fleet.nodes[3];  // node 4 runs with node 3's key, in the same epoch
  for (std::size_t i = 0; i < 4; ++i) world.boot(i, {0});
  world.run(2s);
  const NodeId twin = world.fleet.nodes[3].id;
  trust::Directory directory = world.fleet.directory();
  for (const auto& one : world.fleet.nodes) ASSERT_TRUE(directory.add(one.encoded));
  Membership::Options options;
  options.self = twin;
  options.epoch = BootEpoch{1};
  options.seed = 99;
  options.endpoints = {world.nodes[4].address};
  Membership copy(options, world.fleet.nodes[3].keys.secret, directory);
  copy.start(world.now());
  // The copy meets node 0 and tells of itself.
  copy.on_link_up({world.fleet.nodes[0].id, world.nodes[0].address, true, {}}, world.now());
  copy.set_endpoints({env::Endpoint::v4(10, 9, 9, 9, 7334)}, world.now());
  copy.on_timer(world.now() + 20ms);
  env::Outbox out;
  copy.drain(out);
  for (const env::Send& send : out.sends) {
    const auto frame = wire::open_frame(send.frame).value();
    if (frame.type != wire::MessageType::kMemberGossip) continue;
    EXPECT_TRUE(world.nodes[0].membership->on_message(twin, frame.type, frame.body, world.now()));
  }
  world.pump(0);
  world.run(2s);
  for (const std::size_t i : {0u, 1u, 2u}) EXPECT_EQ(world.count(i, Kind::kClone), 1u);
  // Either the original saw that it is the smaller instance and stops, or it goes on and the copy is told.
  const auto original = world.nodes[3].events;
  const auto named = std::ranges::find_if(original, [](const auto& e) { return e.second.kind == Kind::kClone; });
  ASSERT_NE(named, original.end());
  if (named->second.self) {
    EXPECT_NE(named->second.detail.find("10.9.9.9:7334"), std::string::npos);
  } else {
    EXPECT_EQ(world.nodes[3].membership->next_deadline() == kNever, false);
  }
}

TEST(Membership, a_record_altered_on_the_way_is_refused) {
  World world(3, 11);
  settle(world);
  wire::MemberRecord record{world.fleet.nodes[1].id, BootEpoch{9}, 1, Incarnation{1}, true, "forged", {}};
  wire::MemberGossip gossip;
  gossip.records.push_back({wire::encode(record), {}, {}});
  const Status status = world.nodes[0].membership->on_message(world.fleet.nodes[2].id, wire::MessageType::kMemberGossip,
                                                              wire::encode(gossip), world.now());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnauthenticated);
  EXPECT_EQ(world.nodes[0].membership->find(world.fleet.nodes[1].id)->state, MemberState::kAlive);
}

TEST(Membership, a_lie_about_a_living_node_is_refuted) {
  World world(5, 12);
  settle(world);
  const auto victim = world.nodes[0].membership->find(world.fleet.nodes[1].id).value();
  const wire::MemberGossip lie{{}, {{victim.id, victim.epoch, victim.incarnation, MemberState::kDead}}};
  ASSERT_TRUE(world.nodes[0].membership->on_message(world.fleet.nodes[2].id, wire::MessageType::kMemberGossip,
                                                    wire::encode(lie), world.now()));
  world.pump(0);
  world.run(1s);
  EXPECT_TRUE(world.one_view());
  EXPECT_GT(world.nodes[0].membership->find(victim.id)->incarnation, victim.incarnation);
}

TEST(Membership, members_of_an_earlier_life_are_dialled_without_seeds) {
  World world(3, 13);
  settle(world);
  const std::vector<env::Record> kept = world.nodes[2].records;
  EXPECT_EQ(kept.size(), 2u);
  world.kill(2, true);
  world.run(5s);
  trust::Directory directory = world.fleet.directory();
  ASSERT_TRUE(directory.add(world.fleet.nodes[2].encoded));
  Membership::Options options;
  options.self = world.fleet.nodes[2].id;
  options.epoch = BootEpoch{2};
  Membership again(options, world.fleet.nodes[2].keys.secret, directory);
  for (const env::Record& record : kept) ASSERT_TRUE(again.load(record.key, record.value));
  again.start(world.now());
  again.on_timer(world.now());
  env::Outbox out;
  again.drain(out);
  EXPECT_EQ(out.dials.size(), 2u);
}

TEST(Membership, whom_a_short_life_met_is_on_disk_at_once) {
  World world(2, 18);
  settle(world, 100ms);
  ASSERT_EQ(world.count(1, Kind::kUp), 1u);
  EXPECT_EQ(world.nodes[1].records.size(), 1u);
}

TEST(Membership, a_node_with_several_interfaces_is_reached_by_the_one_that_works) {
  World world(4, 16);
  for (std::size_t i = 1; i < 4; ++i) {
    for (std::uint8_t dead = 0; dead < 3; ++dead) {
      world.nodes[i].dead_ends.push_back(env::Endpoint::v4(192, 168, dead, static_cast<std::uint8_t>(i), 7334));
    }
  }
  settle(world, 15s);
  EXPECT_TRUE(world.one_view());
  for (const World::Node& node : world.nodes) EXPECT_EQ(node.membership->neighbours().size(), 3u);
  world.partition({3});
  world.run(60s);
  world.heal();
  world.run(16s);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, new_endpoints_are_told_to_everybody) {
  World world(3, 17);
  settle(world);
  world.nodes[1].membership->set_endpoints({env::Endpoint::v4(10, 7, 7, 7, 7334)}, world.now());
  world.pump(1);
  world.run(1s);
  const auto seen = world.nodes[2].membership->find(world.fleet.nodes[1].id).value();
  EXPECT_EQ(seen.endpoints.front().text(), "10.7.7.7:7334");
  EXPECT_EQ(world.count(2, Kind::kUpdated), 1u);
}

TEST(Membership, a_quarter_of_an_hour_after_its_death_only_who_a_member_was_is_known) {
  World world(5, 21);
  settle(world);
  const NodeId victim = world.fleet.nodes[3].id;
  world.kill(3, true);
  world.run(14min);
  EXPECT_EQ(world.nodes[0].membership->find(victim)->name, "node-3");
  world.run(2min);
  const Member left = world.nodes[0].membership->find(victim).value();
  EXPECT_TRUE(left.shrunk);
  EXPECT_EQ(left.state, MemberState::kDead);
  EXPECT_EQ(left.epoch, BootEpoch{1});
  EXPECT_TRUE(left.name.empty() && left.endpoints.empty());
  EXPECT_TRUE(world.nodes[0].directory->chain_of(victim).empty());
  // A node that comes now is not told of it.
  world.kill(4, true);
  world.run(1s);
  world.boot(4, {0});
  world.run(3s);
  EXPECT_FALSE(world.nodes[4].membership->find(victim));
  // Its return brings everything again, to those who never knew it too.
  world.boot(3, {0});
  world.run(2s);
  EXPECT_TRUE(world.one_view());
  for (const std::size_t i : {0u, 1u, 2u, 4u}) {
    EXPECT_EQ(world.nodes[i].membership->find(victim)->name, "node-3");
    EXPECT_FALSE(world.nodes[i].directory->chain_of(victim).empty());
  }
}

TEST(Membership, a_split_that_outlived_all_records_heals_without_seeds) {
  World world(13, 22);
  for (std::size_t i = 0; i < 13; ++i) world.boot(i, {12});
  world.run(5s);
  world.kill(12, true);  // the one seed, for good
  world.run(5s);
  ASSERT_TRUE(world.one_view());
  world.partition({0, 1, 2, 3, 4});
  world.run(40min);
  EXPECT_TRUE(world.nodes[0].membership->find(world.fleet.nodes[11].id)->shrunk);
  world.heal();
  world.run(30s);
  EXPECT_TRUE(world.one_view());
}

TEST(Membership, of_the_long_dead_a_few_addresses_stay_on_disk_and_the_other_records_go) {
  World world(30, 23);
  settle(world);
  for (std::size_t i = 5; i < 30; ++i) {
    world.kill(i, true);
    world.run(2s);
  }
  ASSERT_TRUE(world.one_view());
  world.run(16min);
  std::map<Buffer, bool> on_disk;
  for (const env::Record& record : world.nodes[0].records) on_disk[record.key] = !record.erase;
  const auto kept = std::ranges::count_if(on_disk, [](const auto& row) { return row.second; });
  EXPECT_EQ(kept, 4 + 16);
}

TEST(Membership, a_full_table_forgets_the_longest_dead_and_then_refuses_newcomers) {
  constexpr std::size_t kMembers = 4096;  // Options::members_max, ourselves included
  test::Fleet fleet(kMembers + 2);
  trust::Directory directory = fleet.directory();
  ASSERT_TRUE(directory.add(fleet.nodes[0].encoded));
  Membership::Options options;
  options.self = fleet.nodes[0].id;
  options.epoch = BootEpoch{1};
  options.learn_certificate = [&](Bytes chain) -> Status {
    SEDGE_TRY([[maybe_unused]] const NodeId id, directory.add(chain));
    return {};
  };
  Membership membership(options, fleet.nodes[0].keys.secret, directory);
  Instant now{1s};
  membership.start(now);
  const auto tell_of = [&](std::size_t i, bool left) {
    const test::Identity& one = fleet.nodes[i];
    const wire::MemberRecord record{one.id, BootEpoch{1}, 7, Incarnation{1}, left, "robot", {}};
    wire::SignedMember proof{wire::encode(record), {}, one.encoded};
    proof.signature = trust::sign(one.keys.secret, "sedge.member.1", proof.record).bytes;
    const Buffer body = wire::encode(wire::MemberGossip{{proof}, {}});
    ASSERT_TRUE(membership.on_message(fleet.nodes[1].id, wire::MessageType::kMemberGossip, body, now));
    now += 1ms;
    membership.on_timer(now);
    env::Outbox out;
    membership.drain(out);
    while (membership.poll()) continue;
  };
  for (std::size_t i = 1; i < kMembers; ++i) tell_of(i, i == 100 || i == 200);
  EXPECT_EQ(membership.members().size(), kMembers);
  tell_of(kMembers, false);  // the one who left first makes room
  EXPECT_EQ(membership.members().size(), kMembers);
  EXPECT_FALSE(membership.find(fleet.nodes[100].id));
  EXPECT_TRUE(membership.find(fleet.nodes[kMembers].id));
  const wire::MemberGossip death{{}, {{fleet.nodes[300].id, BootEpoch{1}, Incarnation{1}, MemberState::kDead}}};
  EXPECT_EQ(membership.refused(), 0u);
  tell_of(kMembers + 1, false);
  EXPECT_FALSE(membership.find(fleet.nodes[200].id));
  tell_of(100, false);  // everybody lives: there is no room
  EXPECT_EQ(membership.refused(), 1u);
  EXPECT_EQ(membership.alive(), kMembers);
  ASSERT_TRUE(membership.on_message(fleet.nodes[1].id, wire::MessageType::kMemberGossip, wire::encode(death), now));
  tell_of(100, false);  // somebody has died
  EXPECT_TRUE(membership.find(fleet.nodes[100].id));
  EXPECT_FALSE(membership.find(fleet.nodes[300].id));
}

// The first answer says where a clock is to half the link's jitter; at the pace of an idle link a good one comes late.
// A young node goes on reading often: what a large fleet agrees on comes to it from link to link.
TEST(Membership, a_new_neighbours_clock_is_read_eight_times_in_the_first_seconds_and_at_leisure_when_it_has_stood) {
  World world(2, 25);
  settle(world, 2500ms);
  for (const World::Node& node : world.nodes) EXPECT_GE(node.readings, 8u);
  const auto read_within_10s = [&] {
    const std::size_t before = world.nodes[0].readings;
    world.run(10s);
    return world.nodes[0].readings - before;
  };
  EXPECT_GE(read_within_10s(), 18u);
  world.run(10s);
  EXPECT_LE(read_within_10s(), 6u);
}

// Every 0.45 s the two ends hear each other: an empty datagram and its acknowledgement, or a probe and its answer.
TEST(Membership, idle_neighbours_ask_each_other_for_signs_of_life_in_turns) {
  World world(2, 25);
  settle(world, 25s);  // as long as they are young they read each other's clocks instead
  const std::uint64_t probes = world.datagrams;
  const std::array<std::uint64_t, 2> asked{world.nodes[0].asked, world.nodes[1].asked};
  world.run(60s);
  const std::uint64_t first = world.nodes[0].asked - asked[0], second = world.nodes[1].asked - asked[1];
  EXPECT_NEAR(static_cast<double>(world.datagrams - probes), 4 * 32, 16) << "probes and answers";
  EXPECT_LE(first + second + (world.datagrams - probes) / 2, 3 * 60u) << "one exchange in 450 ms, and some too many";
  EXPECT_GE(std::min(first, second), (first + second) / 3);
  EXPECT_EQ(world.count(0, Kind::kSuspect) + world.count(1, Kind::kSuspect), 0u);
}

TEST(Membership, a_link_that_is_full_for_a_while_keeps_its_least_round_trip) {
  World world(2, 25);
  settle(world);
  const NodeId peer = world.nodes[1].identity->id;
  const Duration least = world.nodes[0].membership->least_rtt(peer);
  EXPECT_GT(least, 4ms);
  world.set_latency(20ms);
  world.run(20s);
  EXPECT_GT(world.nodes[0].membership->rtt(peer), 30ms);
  EXPECT_LE(world.nodes[0].membership->least_rtt(peer), least);
}

TEST(Membership, everybody_learns_where_everybody_is_and_then_they_hardly_speak_of_it) {
  World world(12, 24);
  settle(world);
  world.run(60s);
  for (const World::Node& node : world.nodes) {
    for (const World::Node& other : world.nodes) {
      const Duration told = node.membership->round_trip(other.identity->id);
      if (&node == &other) continue;
      EXPECT_GT(told, 1ms);
      EXPECT_LT(told, 12ms);  // twice 2 ms, all of them
    }
  }
  const auto revisions = [&] {
    std::uint64_t all = 0;
    for (const Member& member : world.nodes[0].membership->members()) all += member.revision;
    return all;
  };
  world.run(5min);
  const std::uint64_t before = revisions();
  EXPECT_GE(before, 12u);
  world.run(30min);  // 180 turns each
  EXPECT_LE(revisions() - before, 12u * 30);
  EXPECT_EQ(false_deaths(world), 0u);
}

TEST(Membership, a_coordinate_out_of_this_world_is_refused_with_what_came_with_it) {
  World world(3, 25);
  settle(world);
  wire::ProbeAck ack{1, 0, 0, 0, 2, wire::Coordinate{2'000'000'000, 0, 100, 10}};
  const Status refused = world.nodes[0].membership->on_message(world.fleet.nodes[1].id, wire::MessageType::kProbeAck,
                                                               wire::encode(ack), world.now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDataLoss);
}

std::size_t dials_of_hints(World& world, Membership& membership) {
  for (std::uint8_t i = 1; i <= 100; ++i) membership.on_hint(env::Endpoint::v4(10, 1, 1, i, 7334), world.now());
  for (int i = 0; i < 100; ++i) membership.on_hint(env::Endpoint::v4(10, 1, 1, 1, 7334), world.now());
  env::Outbox out;
  membership.drain(out);
  return out.dials.size();
}

TEST(Membership, hints_are_rate_limited) {
  World world(2, 14);
  world.boot(0, {});
  world.run(1s);
  Membership& membership = *world.nodes[0].membership;
  EXPECT_EQ(dials_of_hints(world, membership), 1u);  // alone: one after the other
  world.run(400ms);
  EXPECT_EQ(dials_of_hints(world, membership), 0u);
  world.boot(1, {0});
  world.run(1s);
  EXPECT_EQ(dials_of_hints(world, membership), 5u);
  EXPECT_EQ(dials_of_hints(world, membership), 0u);
}

TEST(Membership, of_many_who_hear_a_newcomers_beacon_few_dial_it) {
  World world(40, 26);
  settle(world);
  std::size_t dials = 0;
  constexpr std::uint8_t kNewcomers = 5;
  for (World::Node& node : world.nodes) {
    for (std::uint8_t i = 0; i < kNewcomers; ++i) {
      node.membership->on_hint(env::Endpoint::v4(10, 9, 9, i, 7334), world.now());
    }
    env::Outbox out;
    node.membership->drain(out);
    dials += out.dials.size();
  }
  EXPECT_NEAR(static_cast<double>(dials), 2 * kNewcomers, 6);
}

TEST(Membership, a_revoked_member_is_out_and_its_link_closed) {
  World world(3, 15);
  settle(world);
  world.nodes[0].membership->on_revoked(world.fleet.nodes[2].id, world.now());
  EXPECT_FALSE(world.nodes[0].membership->find(world.fleet.nodes[2].id));
  env::Outbox out;
  world.nodes[0].membership->drain(out);
  ASSERT_EQ(out.hangups.size(), 1u);
  EXPECT_EQ(out.hangups[0].reason, env::LinkDown::kRevoked);
}

}  // namespace
}  // namespace sedge::mesh
