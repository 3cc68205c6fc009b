#include "sim/world.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "wire/message_type.h"
#include "wire/state_messages.h"

namespace sedge::sim {
namespace {

using Kind = mesh::MemberEvent::Kind;

WorldOptions small(std::size_t nodes, std::uint64_t seed, double loss = 0) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  options.link.loss = loss;
  return options;
}

bool settle(World& world, Duration limit = 10s) {
  EXPECT_TRUE(world.boot_all());
  return world.run_until([&] { return world.one_view() && world.one_state(); }, limit);
}

std::size_t deaths(const World& world) { return world.deaths().size(); }

// A write at node i; `acknowledged` counts up once it is durable there.
void write(World& world, std::size_t i, const std::string& path, const std::string& value, std::size_t* acknowledged) {
  world.act(i, [&](node::Node& node, Instant now) {
    node.when_durable(node.state().set(path, to_buffer(as_bytes(value)), now), [acknowledged](const Status& status) {
      if (status && acknowledged != nullptr) ++*acknowledged;
    });
  });
}

std::optional<std::string> read(const World& world, std::size_t i, const std::string& path) {
  const auto value = world.node(i).state().replica().read(path);
  if (!value || value->values.size() != 1) return std::nullopt;
  return std::string(as_text(value->values[0]));
}

TEST(World, fifty_nodes_converge) {
  World world(small(50, 1, 0.01));
  ASSERT_TRUE(settle(world));
  for (std::size_t i = 0; i < 50; ++i) write(world, i, "robot/" + std::to_string(i), "here", nullptr);
  EXPECT_TRUE(world.run_until([&] { return world.one_state() && read(world, 49, "robot/0") == "here"; }, 3s));
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(read(world, 0, "robot/" + std::to_string(i)), "here");
  EXPECT_EQ(deaths(world), 0u);
}

std::uint64_t a_busy_run(std::uint64_t seed, bool quic = false) {
  WorldOptions options = small(8, seed, 0.05);
  options.quic = quic;
  World world(options);
  EXPECT_TRUE(world.boot_all());
  world.run(2s);
  for (std::size_t i = 0; i < 8; ++i) write(world, i, "a/" + std::to_string(i), "x", nullptr);
  world.cut_power(3);
  world.stall(5, 900ms);
  world.run(5s);
  EXPECT_TRUE(world.boot(3));
  world.partition({0, 1});
  world.run(5s);
  world.heal();
  world.run(5s);
  return world.trace();
}

TEST(World, same_seed_same_trace) {
  const std::uint64_t first = a_busy_run(42);
  EXPECT_EQ(a_busy_run(42), first);
  EXPECT_NE(a_busy_run(43), first);
}

// Handshakes draw their keys from the TLS library: other bytes, of the same number at the same times.
TEST(World, over_real_quic_too_the_same_seed_gives_the_same_trace) {
  const std::uint64_t first = a_busy_run(42, true);
  EXPECT_EQ(a_busy_run(42, true), first);
  EXPECT_NE(a_busy_run(43, true), first);
  EXPECT_NE(a_busy_run(42), first);
}

TEST(World, over_real_quic_a_killed_node_refuses_and_a_silent_one_times_out) {
  WorldOptions options = small(6, 3, 0.02);
  options.quic = true;
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(3s);
  EXPECT_EQ(world.links().size(), 15u);
  const Instant killed = world.now();
  world.kill(4);  // the machine answers that nobody listens
  ASSERT_TRUE(world.run_until([&] { return deaths(world) == 5; }, 5s));
  EXPECT_LT(world.now() - killed, 2s);
  world.cut_power(5);
  ASSERT_TRUE(world.run_until([&] { return deaths(world) == 9; }, 5s));
  ASSERT_TRUE(world.boot(4));
  ASSERT_TRUE(world.boot(5));
  EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 5s));
  EXPECT_EQ(world.counts().too_slow, 0u);
}

// A publisher faster than its links is told to wait: nothing is lost, no link is cut for being too slow.
void flood(bool quic) {
  WorldOptions options = small(4, 6);
  options.link.bytes_per_s = 1e6;
  options.quic = quic;
  World world(options);
  ASSERT_TRUE(settle(world));
  std::vector<std::size_t> came(4, 0);
  for (std::size_t i = 1; i < 4; ++i) {
    world.act(i, [&](node::Node& node, Instant) {
      ASSERT_TRUE(node.subscribe("flood", [&, i](const mesh::Message&) { ++came[i]; }, {}, world.now()));
    });
  }
  const Buffer payload(1000, 7);
  constexpr std::size_t kMessages = 40'000;  // 40 MB down links of 1 MB/s that hold 8 MiB
  std::size_t sent = 0, refused = 0;
  const Instant limit = world.now() + 120s;
  for (; sent < kMessages && world.now() < limit; world.run(10ms)) {
    world.act(0, [&](node::Node& node, Instant now) {
      for (Status last; last && sent < kMessages;) {
        node.publish("flood", payload, {}, 0, [&](const Status& status) { last = status; }, now);
        if (last) ++sent;
        if (last) continue;
        ++refused;
        EXPECT_EQ(last.error().code, Code::kResourceExhausted) << last.error().message;
      }
    });
  }
  EXPECT_EQ(sent, kMessages);
  EXPECT_GT(refused, 0u);
  EXPECT_TRUE(world.run_until([&] { return came[1] == sent && came[2] == sent && came[3] == sent; }, 60s))
      << came[1] << " " << came[2] << " " << came[3] << " of " << sent;
  EXPECT_EQ(deaths(world), 0u);
}

TEST(World, a_flood_of_reliable_messages_is_pushed_back_and_loses_nothing) { flood(false); }
TEST(World, over_real_quic_a_flood_of_reliable_messages_is_pushed_back_and_loses_nothing) { flood(true); }

// What was under way on a link that breaks is lost with it, and the publisher goes on meanwhile: it must not push that
// out of what it keeps before its neighbour, linked again, has asked for it.
TEST(World, what_was_under_way_on_a_link_that_broke_comes_though_the_publisher_goes_on) {
  WorldOptions options = small(2, 8);
  options.link.bytes_per_s = 100e6;
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(5s);
  std::set<std::uint32_t> came;
  world.act(1, [&](node::Node& node, Instant) {
    const auto take = [&](const mesh::Message& message) {
      std::uint32_t number = 0;
      std::memcpy(&number, message.payload.data(), sizeof number);
      EXPECT_TRUE(came.insert(number).second) << number << " twice";
    };
    ASSERT_TRUE(node.subscribe("flood", take, {}, world.now()));
  });
  std::uint32_t sent = 0;
  const auto publish = [&](node::Node& node, Instant now) {
    for (Status last; last;) {
      Buffer payload(60'000, 7);
      std::memcpy(payload.data(), &sent, sizeof sent);
      node.publish("flood", payload, {}, 0, [&](const Status& status) { last = status; }, now);
      sent += last ? 1 : 0;
    }
  };
  const auto flood_for = [&](Duration time) {
    for (const Instant end = world.now() + time; world.now() < end; world.run(5ms)) world.act(0, publish);
  };
  for (int round = 0; round < 5; ++round) {
    flood_for(2s);
    world.break_link(0, 1);
    EXPECT_FALSE(world.node(0).membership().linked(world.id(1)));
    const std::uint32_t before = sent;
    world.act(0, publish);
    EXPECT_GT(sent, before);  // there is room for a little, link or not
  }
  flood_for(5s);
  EXPECT_EQ(deaths(world), 0u);
  EXPECT_GT(sent, 5'000u);  // it waits no longer than it must: 300 MB of 1500 at least
  EXPECT_TRUE(world.run_until([&] { return came.size() == sent; }, 10s)) << came.size() << " of " << sent;
}

// Two programs that answer each other as fast as they can: each message is a batch of its own.
TEST(World, twenty_thousand_batches_a_second_between_two_lose_nothing) {
  World world(small(2, 3));
  ASSERT_TRUE(settle(world));
  std::size_t came = 0;
  world.act(1, [&](node::Node& node, Instant now) {
    ASSERT_TRUE(node.subscribe("ping", [&](const mesh::Message&) { ++came; }, {}, now));
  });
  world.run(1s);
  constexpr std::size_t kMessages = 40'000;
  for (std::size_t i = 0; i < kMessages; ++i, world.run(50us)) {
    world.act(0, [](node::Node& node, Instant now) {
      node.publish("ping", Buffer(64, 1), {}, 0, [](const Status& status) { ASSERT_TRUE(status); }, now);
    });
  }
  EXPECT_TRUE(world.run_until([&] { return came == kMessages; }, 5s)) << came;
  EXPECT_EQ(world.node(1).meter().dropped(), 0u);
}

// Many publishers, and nobody may be brought to check more than a few batches a second.
TEST(World, more_batches_than_a_node_may_be_brought_to_check_come_later_and_none_is_lost) {
  WorldOptions options = small(16, 9);
  options.meter.batches_per_s = 60;
  options.meter.batches_burst = 60;
  World world(options);
  ASSERT_TRUE(settle(world));
  std::vector<std::size_t> came(world.size(), 0);
  for (std::size_t i = 0; i < world.size(); ++i) {
    world.act(i, [&, i](node::Node& node, Instant now) {
      ASSERT_TRUE(node.subscribe("sensor", [&, i](const mesh::Message&) { ++came[i]; }, {}, now));
    });
  }
  world.run(1s);
  std::size_t sent = 0, refused = 0;
  for (int step = 0; step < 1000; ++step, world.run(2ms)) {  // 500 batches a second, for two
    const std::size_t i = static_cast<std::size_t>(step) % world.size();
    world.act(i, [&](node::Node& node, Instant now) {
      node.publish("sensor", Buffer(20, 1), {}, 0, [&](const Status& status) { ++(status ? sent : refused); }, now);
    });
  }
  EXPECT_TRUE(world.run_until([&] { return std::ranges::all_of(came, [&](auto n) { return n == sent; }); }, 60s))
      << *std::ranges::min_element(came) << " of " << sent;
  EXPECT_GT(refused, 0u) << "publishers were not told";
  EXPECT_GT(sent, 200u);
  std::uint64_t dropped = 0;
  for (std::size_t i = 0; i < world.size(); ++i) dropped += world.node(i).meter().dropped();
  EXPECT_GT(dropped, 0u);
  EXPECT_EQ(deaths(world), 0u);
}

// Each publishes what its own links carry, for much longer than is kept for repairs; those in the middle are to pass on
// twelve times as much.
void overrun_relays(bool quic, std::size_t each) {
  WorldOptions options = small(20, 8);
  options.link.bytes_per_s = 1e6;
  options.quic = quic;
  World world(options);
  ASSERT_TRUE(settle(world));
  std::vector<std::size_t> came(world.size(), 0);
  for (std::size_t i = 0; i < world.size(); ++i) {
    world.act(i, [&, i](node::Node& node, Instant now) {
      ASSERT_TRUE(node.subscribe("flood/#", [&, i](const mesh::Message&) { ++came[i]; }, {}, now));
    });
  }
  constexpr std::size_t kPublishers = 12;
  const Buffer payload(10'000, 7);
  std::array<std::size_t, kPublishers> sent{};
  std::uint64_t slowdowns = 0;
  const auto all_sent = [&] { return std::ranges::all_of(sent, [&](std::size_t n) { return n == each; }); };
  for (const Instant limit = world.now() + 300s; !all_sent() && world.now() < limit; world.run(10ms)) {
    for (std::size_t i = 0; i < kPublishers; ++i) {
      world.act(i, [&](node::Node& node, Instant now) {
        for (Status last; last && sent[i] < each;) {
          node.publish("flood/" + std::to_string(i), payload, {}, 0, [&](const Status& s) { last = s; }, now);
          if (last) ++sent[i];
        }
      });
    }
  }
  EXPECT_TRUE(all_sent());
  EXPECT_TRUE(
      world.run_until([&] { return std::ranges::all_of(came, [&](auto n) { return n == kPublishers * each; }); }, 120s))
      << *std::ranges::min_element(came) << " of " << kPublishers * each;
  for (std::size_t i = 0; i < world.size(); ++i) {
    world.act(i, [&](node::Node& node, Instant) { slowdowns += node.broadcast().stats().slowdowns; });
  }
  EXPECT_GT(slowdowns, 0u);
  EXPECT_EQ(world.counts().too_slow, 0u);
  EXPECT_EQ(deaths(world), 0u);
}

TEST(World, relays_slow_down_who_publishes_more_than_they_can_pass_on) { overrun_relays(false, 600); }
TEST(World, over_real_quic_relays_slow_down_who_publishes_more_than_they_can_pass_on) { overrun_relays(true, 200); }

// One robot at the edge of the radio's range: a fiftieth of what is published gets through to it. The others hear all
// of it as soon as if it were not there, nothing piles up, and who asks for it waits for that robot too.
void one_slow_reader(bool quic, bool for_all) {
  WorldOptions options = small(12, 31);
  options.link.bytes_per_s = 4e6;
  options.quic = quic;
  World world(options);
  ASSERT_TRUE(settle(world));
  constexpr std::size_t kSlow = 7, kPublisher = 2;
  world.slow(kSlow, 20e3);
  std::vector<std::size_t> came(world.size(), 0);
  for (std::size_t i = 0; i < world.size(); ++i) {
    world.act(i, [&, i](node::Node& node, Instant now) {
      ASSERT_TRUE(node.subscribe("camera", [&, i](const mesh::Message&) { ++came[i]; }, {}, now));
    });
  }
  std::size_t sent = 0, refused = 0, most = 0;
  const Instant end = world.now() + 20s;
  while (world.now() < end) {
    world.act(kPublisher, [&](node::Node& node, Instant now) {
      const mesh::PublishOptions how{.for_all = for_all};
      node.publish("camera", Buffer(10'000, 7), how, 0, [&](const Status& s) { ++(s ? sent : refused); }, now);
    });
    world.run(10ms);
    for (std::size_t i = 0; i < world.size(); ++i) most = std::max(most, world.backlog(i));
  }
  world.run(1s);
  if (for_all) {
    EXPECT_GT(refused, sent);
    EXPECT_TRUE(world.run_until([&] { return came[kSlow] == sent; }, 120s)) << came[kSlow] << " of " << sent;
  } else {
    EXPECT_LT(refused, 50u) << "half a second, until it is known to be slow";
    EXPECT_GT(came[kSlow], 50u);
    EXPECT_LT(came[kSlow], sent);
    EXPECT_LT(most, env::kLinkQueueBytesMax / 4);
  }
  for (std::size_t i = 0; i < world.size(); ++i) EXPECT_TRUE(i == kSlow || came[i] == sent) << i << " has " << came[i];
  EXPECT_EQ(world.counts().too_slow, 0u);
}

TEST(World, a_slow_reader_is_left_behind_and_holds_up_nobody) { one_slow_reader(false, false); }
TEST(World, over_real_quic_a_slow_reader_is_left_behind_and_holds_up_nobody) { one_slow_reader(true, false); }
TEST(World, who_waits_for_all_goes_at_the_pace_of_the_slowest) { one_slow_reader(false, true); }

TEST(World, a_message_is_not_heard_after_its_lifespan_and_a_dead_publisher_is_told) {
  World world(small(6, 12));
  ASSERT_TRUE(settle(world));
  world.run(10s);  // the clocks agree
  std::vector<std::string> got, late;
  std::vector<std::pair<NodeId, bool>> seen;
  world.act(1, [&](node::Node& node, Instant now) {
    mesh::SubscribeOptions options{.deadline = 2s};
    options.on_late = [&](std::string_view topic) { late.emplace_back(topic); };
    options.on_liveliness = [&](NodeId publisher, bool alive) { seen.emplace_back(publisher, alive); };
    const auto hear = [&](const mesh::Message& message) { got.emplace_back(as_text(message.payload)); };
    ASSERT_TRUE(node.subscribe("orders/+", hear, options, now));
  });
  const auto publish = [&](const char* text) {
    world.act(0, [&](node::Node& node, Instant now) {
      mesh::PublishOptions options;
      options.lifespan = 500ms;
      node.publish("orders/1", as_bytes(text), options, 0, [](const Status& status) { EXPECT_TRUE(status); }, now);
    });
  };
  publish("in time");
  world.run(1s);
  EXPECT_EQ(got, std::vector<std::string>{"in time"});
  EXPECT_TRUE(late.empty());
  world.stall(1, 1s);  // what comes meanwhile is read when the process goes on
  publish("too late");
  world.run(3s);
  EXPECT_EQ(got, std::vector<std::string>{"in time"});
  EXPECT_FALSE(late.empty());
  const NodeId publisher = world.id(0);
  EXPECT_EQ(seen, (std::vector<std::pair<NodeId, bool>>{{publisher, true}}));
  world.kill(0);
  world.run(5s);
  EXPECT_EQ(seen.back(), std::pair(publisher, false));
}

TEST(World, nodes_find_each_other_by_beacons_alone) {
  WorldOptions options = small(5, 2, 0.05);
  options.multicast = true;
  World world(options);
  EXPECT_TRUE(settle(world));
}

TEST(World, a_killed_node_is_known_to_every_survivor_within_three_seconds) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    for (const bool power : {false, true}) {
      World world(small(5 + seed % 3 * 10, seed, 0.05));
      ASSERT_TRUE(settle(world));
      world.run(Duration(seed * 37'000'000));
      power ? world.cut_power(2) : world.kill(2);
      EXPECT_TRUE(world.run_until([&] { return world.one_view(); }, 3s))
          << "seed " << seed << (power ? " power" : " kill");
      EXPECT_EQ(deaths(world), world.size() - 1) << "seed " << seed;
    }
  }
}

TEST(World, a_slow_node_is_not_declared_dead) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    World world(small(8, seed, 0.05));
    ASSERT_TRUE(settle(world));
    for (std::size_t round = 0; round < 8; ++round) {
      world.stall(round, 500ms + round * 142ms);
      world.run(3s);
    }
    EXPECT_EQ(deaths(world), 0u) << "seed " << seed;
    EXPECT_TRUE(world.one_view());
  }
}

TEST(World, a_partition_heals_to_one_view_and_one_state) {
  World world(small(10, 3, 0.02));
  ASSERT_TRUE(settle(world));
  world.partition({0, 1, 2, 3});
  world.run(10s);
  EXPECT_EQ(world.node(0).membership().alive(), 4u);
  EXPECT_EQ(world.node(9).membership().alive(), 6u);
  write(world, 0, "side/a", "1", nullptr);
  write(world, 9, "side/b", "2", nullptr);
  write(world, 1, "both", "a", nullptr);
  write(world, 8, "both", "b", nullptr);
  world.run(20s);
  world.heal();
  EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 16s));
  EXPECT_EQ(read(world, 9, "side/a"), "1");
  EXPECT_EQ(read(world, 0, "side/b"), "2");
}

// Node 0 is told that all but the last of node 1's writes are void, and passes that on as it passes on all that it
// knows: no vector tells what is missing.
TEST(World, what_a_peer_covered_falsely_is_found_by_comparing_what_lives) {
  World world(small(3, 7));
  ASSERT_TRUE(settle(world));
  for (int i = 0; i < 200; ++i) write(world, 2, fmt::format("shared/{}", i), "x", nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.one_state() && read(world, 1, "shared/199"); }, 5s));
  world.partition({1});
  world.run(5s);
  for (int i = 0; i < 600; ++i) write(world, 1, fmt::format("entry/{}", i), "x", nullptr);
  world.run(15s);  // longer than batches are kept for those who missed them
  const auto living = world.node(1).state().replica().living();
  crdt::Op last;
  for (const auto& [dot, op] : living) last = op.path.starts_with("entry/") ? op.copy() : last;
  wire::StateOps lie;
  lie.ops.push_back(crdt::encode_op(last));
  lie.covers.push_back({last.dot.origin, last.dot.epoch, {{1}, {last.dot.sequence.value - 1}}});
  world.act(0, [&](node::Node& node, Instant now) {
    const wire::StateVector brief{{1, 1}, 0, false, false, {}};
    node.on_frame(world.id(2), wire::frame(wire::MessageType::kStateVector, brief), {}, now);
    node.on_frame(world.id(2), wire::frame(wire::MessageType::kStateOps, lie), {}, now);
  });
  ASSERT_TRUE(world.node(0).state().vector().contains({last.dot.origin, last.dot.epoch, {1}}));
  world.heal();
  EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 30s));
  EXPECT_EQ(read(world, 0, "entry/0"), "x");
  EXPECT_EQ(read(world, 2, "entry/0"), "x");
  std::uint64_t sessions = 0;
  for (std::size_t i = 0; i < 3; ++i) sessions += world.node(i).state().stats().sessions;
  EXPECT_GT(sessions, 0u);
}

TEST(World, a_one_way_cut_splits_nobody_who_is_reached_through_others) {
  World world(small(6, 4));
  ASSERT_TRUE(settle(world));
  world.cut(1, 2);
  world.run(30s);
  EXPECT_EQ(deaths(world), 0u);
  EXPECT_TRUE(world.one_view());
}

TEST(World, a_node_that_hears_nobody_brings_nobody_down_but_itself) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    World world(small(12, seed));
    ASSERT_TRUE(settle(world));
    for (std::size_t i = 0; i < 11; ++i) world.cut(i, 11);
    world.run(10s);
    std::size_t said = 0;
    for (const auto& death : world.deaths()) {
      if (death.node == 11) continue;  // it believes that they are gone, and nobody hears it any more
      EXPECT_EQ(death.event.id, world.id(11));
      ++said;
    }
    EXPECT_EQ(said, 11u);
    world.heal();
    EXPECT_TRUE(world.run_until([&] { return world.one_view(); }, 30s));
  }
}

TEST(World, acknowledged_writes_survive_a_power_cut_of_any_node) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(small(3, seed, 0.02));
    ASSERT_TRUE(settle(world));
    const std::size_t victim = seed % 3;
    std::vector<std::size_t> acknowledged(60);
    if (seed % 2 == 0) world.partition({victim});  // nobody else has what it writes: only its disk does
    world.cut_power_within_commit(victim, seed * 7);
    for (std::size_t w = 0; w < 60 && world.up(victim); ++w) {
      write(world, victim, "w/" + std::to_string(w), "v" + std::to_string(w), &acknowledged[w]);
      world.run(Duration(seed * 500'000));
    }
    if (world.up(victim)) world.cut_power(victim);
    world.run(1s);
    ASSERT_TRUE(world.boot(victim)) << "seed " << seed;
    world.heal();
    EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 10s)) << "seed " << seed;
    for (std::size_t w = 0; w < 60; ++w) {
      if (acknowledged[w] == 0) continue;
      for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(read(world, i, "w/" + std::to_string(w)), "v" + std::to_string(w))
            << "seed " << seed << " node " << i;
      }
    }
  }
}

// What a process does whose disk fails: it ends and says why, and what it acknowledged is there when it is back.
TEST(World, a_node_whose_disk_fails_stops_with_the_reason_and_has_acknowledged_nothing_that_is_lost) {
  std::size_t lost_syncs = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    World world(small(3, seed));
    ASSERT_TRUE(settle(world));
    world.partition({1});  // nobody else has what it writes
    world.break_disk(1, seed * 5);
    std::vector<std::size_t> acknowledged(80);
    for (std::size_t w = 0; w < 80 && world.up(1); ++w) {
      write(world, 1, "w/" + std::to_string(w), "v", &acknowledged[w]);
      world.run(3ms);
    }
    ASSERT_FALSE(world.up(1)) << "seed " << seed;
    ASSERT_EQ(world.stops().size(), 1u);
    EXPECT_EQ(world.stops()[0].node, 1u);
    EXPECT_NE(world.stops()[0].why.message.find("disk fails"), std::string::npos) << world.stops()[0].why.message;
    ASSERT_TRUE(world.boot(1));
    for (std::size_t w = 0; w < 80; ++w) {
      const bool there = read(world, 1, "w/" + std::to_string(w)).has_value();
      EXPECT_TRUE(there || acknowledged[w] == 0) << "seed " << seed << " write " << w;
      lost_syncs += acknowledged[w] == 0 && !there ? 1 : 0;
    }
  }
  EXPECT_GT(lost_syncs, 0u);
}

TEST(World, a_recorded_contact_is_all_that_two_nodes_have_of_each_other) {
  WorldOptions options = small(3, 1);
  options.contacts = {{0s, 1000s, 0, 1}, {0s, 1000s, 1, 0}, {20s, 1000s, 1, 2}, {20s, 1000s, 2, 1}};
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(3s);  // all three links are there
  world.roam();
  world.run(15s);
  EXPECT_EQ(world.node(0).membership().alive(), 2u);
  EXPECT_EQ(world.node(2).membership().alive(), 1u);
  // Now node 1 stands between the two others.
  EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 30s));
  EXPECT_FALSE(world.node(0).membership().linked(world.id(2)));
}

TEST(World, a_node_estimates_the_round_trip_to_nodes_that_it_has_no_link_to) {
  WorldOptions options = small(40, 3);
  options.link.plane = 40ms;
  options.link.jitter = 2ms;
  World world(options);
  ASSERT_TRUE(settle(world, 20s));
  world.run(10min);
  std::vector<double> errors;
  std::size_t unlinked = 0;
  for (std::size_t a = 0; a < 40; ++a) {
    for (std::size_t b = 0; b < 40; ++b) {
      if (a == b || world.node(a).membership().linked(world.id(b))) continue;
      ++unlinked;
      const Duration told = world.node(a).membership().round_trip(world.id(b)), real = world.round_trip(a, b);
      if (told != Duration{}) errors.push_back(std::abs(to_ms(told - real)) / to_ms(real));
    }
  }
  EXPECT_EQ(errors.size(), unlinked);
  std::ranges::sort(errors);
  ASSERT_FALSE(errors.empty());
  EXPECT_LT(errors[errors.size() / 2], 0.15);
  EXPECT_LT(errors[errors.size() * 9 / 10], 0.5);
}

// The fleet clock is made of monotonic clocks and offsets to neighbours: what a board believes the time to be has no
// part in it, so an hour more or less on its clock is an offset of an hour, measured and added.
TEST(World, the_fleet_clock_is_one_whatever_the_boards_clocks_say) {
  WorldOptions options = small(30, 5);
  options.clock_drift_ppm = 100;
  options.clock_skew = 1h;
  options.clock_skew_share = 0.1;
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(20s);
  for (int round = 0; round < 10; ++round, world.run(3s)) {
    std::vector<std::uint64_t> clocks;
    for (std::size_t i = 0; i < 30; ++i) clocks.push_back(world.fleet_us(i).value());
    std::ranges::sort(clocks);
    EXPECT_LE(clocks[29] - clocks[15], 10'000u);
    EXPECT_LE(clocks[15] - clocks[0], 10'000u);
  }
}

TEST(World, no_message_is_delivered_twice_and_no_reliable_one_is_lost) {
  World world(small(12, 6, 0.05));
  ASSERT_TRUE(settle(world));
  std::vector<std::map<std::string, int>> got(12);
  for (std::size_t i = 0; i < 12; ++i) {
    world.act(i, [&](node::Node& node, Instant now) {
      const auto count = [&got, i](const mesh::Message& m) { ++got[i][std::string(m.topic)]; };
      EXPECT_TRUE(node.subscribe("t/#", count, {}, now));
    });
  }
  for (int m = 0; m < 200; ++m) {
    if (m == 60) world.kill(11);
    if (m == 120) world.stall(4, 1200ms);
    world.act(static_cast<std::size_t>(m) % 8, [&](node::Node& node, Instant now) {
      node.publish("t/" + std::to_string(m), as_bytes("x"), {}, 0, [](const Status& s) { EXPECT_TRUE(s); }, now);
    });
    world.run(20ms);
  }
  world.run(6s);
  for (std::size_t i = 0; i < 11; ++i) {
    EXPECT_EQ(got[i].size(), 200u) << "node " << i;
    for (const auto& [topic, times] : got[i]) EXPECT_EQ(times, 1) << topic << " at node " << i;
  }
}

TEST(World, a_returning_node_has_the_fleets_state_within_a_second) {
  World world(small(5, 7));
  ASSERT_TRUE(settle(world));
  world.kill(4);
  world.run(5s);
  for (std::size_t w = 0; w < 20; ++w) write(world, w % 4, "w/" + std::to_string(w), "x", nullptr);
  world.run(5s);
  ASSERT_TRUE(world.boot(4));
  EXPECT_TRUE(world.run_until([&] { return world.one_view() && world.one_state(); }, 1s));
}

struct TaskRun {
  std::vector<std::int32_t> streamed;
  std::optional<node::TaskResult> result;
  Duration interrupted{};  // from the kill to the next token
};

// A task of 60 tokens at node 0, which offers no model; after token 20 `victim` is killed, if there is one.
TaskRun run_task(std::optional<NodeId> victim) {
  WorldOptions options = small(3, 8);
  options.models = {{"sim", 4000, 100, 80}};
  options.models_from = 1;
  World world(options);
  EXPECT_TRUE(settle(world));
  world.run(3s);
  TaskRun run;
  world.act(0, [&](node::Node& node, Instant now) {
    node::TaskRequest request;
    request.spec.model = "sim";
    request.spec.prompt = "go on";
    request.spec.tokens_max = 60;
    node::RunOptions callbacks;
    callbacks.on_tokens = [&](std::span<const env::Token> more) {
      for (const env::Token& token : more) run.streamed.push_back(token.id);
    };
    callbacks.on_result = [&](const node::TaskResult& end) { run.result = end; };
    node.run(std::move(request), std::move(callbacks), now);
  });
  EXPECT_TRUE(world.run_until([&] { return run.streamed.size() >= 20; }, 5s));
  if (victim) {
    const Instant killed = world.now();
    world.kill(*world.index_of(*victim));
    const std::size_t had = run.streamed.size();
    EXPECT_TRUE(world.run_until([&] { return run.streamed.size() > had; }, 5s));
    run.interrupted = world.now() - killed;
  }
  EXPECT_TRUE(world.run_until([&] { return run.result.has_value(); }, 10s));
  return run;
}

TEST(World, a_task_goes_on_elsewhere_with_the_same_text_when_its_node_dies) {
  const TaskRun whole = run_task({});
  ASSERT_TRUE(whole.result);
  EXPECT_EQ(whole.streamed.size(), 60u);
  EXPECT_EQ(whole.result->attempts, 1u);
  const TaskRun disturbed = run_task(whole.result->served_by);
  ASSERT_TRUE(disturbed.result);
  EXPECT_EQ(disturbed.streamed, whole.streamed);
  EXPECT_EQ(disturbed.result->attempts, 2u);
  EXPECT_NE(disturbed.result->served_by, whole.result->served_by);
  EXPECT_LE(disturbed.interrupted, 1s);
}

// More nodes than anybody has links, one that offers a model, and an owner that is not linked to it: it dials, and the
// link is not pruned while tokens come. The answer is published, and asking again elsewhere publishes nothing twice.
TEST(World, a_task_reaches_a_node_without_a_link_and_its_answer_is_published_once) {
  WorldOptions options = small(30, 9);
  options.models = {{"sim", 4000, 10, 80}};
  options.models_from = 29;
  World world(options);
  ASSERT_TRUE(settle(world, 20s));
  world.run(3s);
  const auto far_from_it = [&](std::size_t i) { return !world.node(i).membership().linked(world.id(29)); };
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < 29; ++i) {
    if (far_from_it(i)) owners.push_back(i);
  }
  ASSERT_GE(owners.size(), 2u);
  std::size_t heard = 0;
  world.act(5, [&](node::Node& node, Instant now) {
    ASSERT_TRUE(node.subscribe("answers", [&](const mesh::Message&) { ++heard; }, {}, now));
  });
  for (std::size_t time = 0; time < 2; ++time) {
    std::optional<node::TaskResult> result;
    world.act(owners[time], [&](node::Node& node, Instant now) {
      node::TaskRequest request;
      request.id.bytes[0] = 1;
      request.spec.model = "sim";
      request.spec.prompt = "go on";
      request.spec.tokens_max = 60;  // six seconds, in which links are pruned
      request.publish = {"answers"};
      node::RunOptions callbacks;
      callbacks.on_result = [&](const node::TaskResult& end) { result = end; };
      node.run(std::move(request), std::move(callbacks), now);
    });
    ASSERT_TRUE(world.run_until([&] { return result.has_value(); }, 20s));
    EXPECT_EQ(result->outcome, node::Outcome::kAnswered) << result->reason;
    EXPECT_EQ(result->attempts, 1u);
    world.run(1s);
  }
  EXPECT_EQ(heard, 1u);
}

}  // namespace
}  // namespace sedge::sim
