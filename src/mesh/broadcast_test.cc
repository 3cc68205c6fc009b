#include "mesh/broadcast.h"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "mesh/test_world.h"

namespace sedge::mesh {
namespace {

using test::World;

void settle(World& world) {
  for (std::size_t i = 0; i < world.nodes.size(); ++i) world.boot(i, {0});
  world.run(5s);
}

void publish(World& world, std::size_t i, const std::string& topic, const std::string& text, bool reliable = true) {
  ASSERT_TRUE(world.nodes[i].pubsub->publish(topic, as_bytes(text), {reliable, env::Priority::kNormal}, world.now()));
  world.pump(i);
}

// How many nodes got each message, and that none got one twice.
void expect_everywhere_once(const World& world, std::size_t messages) {
  for (std::size_t i = 0; i < world.nodes.size(); ++i) {
    if (!world.nodes[i].up) continue;
    std::vector<std::string> got = world.nodes[i].got;
    std::ranges::sort(got);
    EXPECT_EQ(std::ranges::adjacent_find(got), got.end()) << "node " << i << " got a message twice";
    EXPECT_EQ(got.size(), messages) << "node " << i;
  }
}

TEST(Broadcast, reliable_messages_reach_everybody_once_in_spite_of_loss) {
  World world(30, 1, 0.05);
  settle(world);
  for (int m = 0; m < 200; ++m) {
    publish(world, static_cast<std::size_t>(m) % 30, "t/" + std::to_string(m), "x");
    world.run(10ms);
  }
  world.run(3s);
  expect_everywhere_once(world, 200);
}

TEST(Broadcast, the_tree_needs_about_one_copy_a_node) {
  World world(30, 2);
  settle(world);
  for (int m = 0; m < 50; ++m) {
    publish(world, 3, "t", "x");
    world.run(100ms);
  }
  std::uint64_t before = 0, after = 0;
  for (const World::Node& node : world.nodes) before += node.broadcast->stats().duplicates;
  for (int m = 0; m < 50; ++m) {
    publish(world, 3, "t", "x");
    world.run(100ms);
  }
  for (const World::Node& node : world.nodes) after += node.broadcast->stats().duplicates;
  EXPECT_LE(after - before, 50u * 30 / 10);  // under a tenth of the deliveries
}

TEST(Broadcast, a_death_in_the_tree_loses_no_reliable_message) {
  World world(30, 3, 0.02);
  settle(world);
  for (int m = 0; m < 300; ++m) {
    if (m == 100) world.kill(11);
    if (m == 150) world.kill(17, true);
    publish(world, static_cast<std::size_t>(m) % 10, "t/" + std::to_string(m), "x");
    world.run(10ms);
  }
  world.run(6s);
  expect_everywhere_once(world, 300);
}

TEST(Broadcast, what_was_said_in_a_short_cut_is_made_up_for_when_the_link_is_back) {
  World world(3, 4);
  settle(world);
  world.partition({2});
  world.run(3500ms);
  publish(world, 0, "t/1", "x");
  world.run(10ms);
  world.heal();
  world.run(6s);
  expect_everywhere_once(world, 1);
}

TEST(Broadcast, a_node_that_comes_later_does_not_get_what_was_said_before) {
  World world(3, 5);
  world.boot(0, {});
  world.boot(1, {0});
  world.run(3s);
  publish(world, 0, "order/1", "go");
  world.run(2s);
  world.boot(2, {0});
  world.run(5s);
  EXPECT_EQ(world.nodes[1].got.size(), 1u);
  EXPECT_EQ(world.nodes[2].got.size(), 0u);
}

TEST(Broadcast, best_effort_goes_as_datagrams_where_it_fits) {
  World world(5, 6);
  settle(world);
  const std::uint64_t datagrams = world.datagrams, frames = world.frames;
  for (int m = 0; m < 100; ++m) publish(world, 0, "pose/" + std::to_string(m), std::string(200, 'x'), false);
  world.run(5ms);
  EXPECT_GE(world.datagrams - datagrams, 4u * 100 / 5);
  std::string image(5000, ' ');  // that cannot be packed
  Prng prng(1);
  for (char& byte : image) byte = static_cast<char>(prng.next());
  publish(world, 0, "image", image, false);
  world.run(100ms);
  EXPECT_GE(world.frames - frames, 4u);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_EQ(world.nodes[i].got.size(), 101u);
}

TEST(Broadcast, a_large_payload_is_packed_where_links_are_no_cable_and_passed_on_as_it_is) {
  World world(30, 7);
  settle(world);
  const std::string said(20'000, 'x');
  publish(world, 3, "map", said);
  world.run(3s);
  expect_everywhere_once(world, 1);
  for (std::size_t i = 0; i < 30; ++i) {
    ASSERT_EQ(world.nodes[i].got.size(), 1u);
    EXPECT_EQ(world.nodes[i].got[0], "map=" + said);
    EXPECT_EQ(world.nodes[i].broadcast->pack_stats().packed, i == 3 ? 1u : 0u);
  }
  EXPECT_LT(world.nodes[3].broadcast->pack_stats().bytes_packed, 500u);
}

// A batch as node 0 signs it, and a receiver that knows its certificate.
struct Pair {
  test::Fleet fleet{3};
  trust::Directory directory = fleet.directory();
  std::size_t delivered = 0;
  std::size_t members = 3;
  Duration least_round_trip{};
  std::array<std::uint64_t, 2> fleet_ms{};  // of each; 0: its clock is not settled
  Broadcast sender, receiver;
  Pair()
      : sender(options(0), fleet.nodes[0].keys.secret, directory),
        receiver(options(1), fleet.nodes[1].keys.secret, directory) {
    for (const auto& one : fleet.nodes) SEDGE_ASSERT(directory.add(one.encoded).has_value());
    sender.start(Instant{});
    receiver.start(Instant{});
    sender.on_link_up(fleet.nodes[1].id, Instant{});
  }
  Broadcast::Options options(std::size_t i) {
    Broadcast::Options made;
    made.self = fleet.nodes[i].id;
    made.epoch = BootEpoch{1};
    made.deliver = [this](BatchKind, NodeId, Bytes, Instant) { ++delivered; };
    made.members = [this] { return members; };
    made.least_round_trip = [this](NodeId) { return least_round_trip; };
    made.fleet_ms = [this, i](Instant) { return fleet_ms[i]; };
    return made;
  }
  Buffer next_frame(bool direct = false, const std::string& payload = "x",
                    env::Priority priority = env::Priority::kNormal) {
    members = direct ? 2 : 3;
    EXPECT_TRUE(sender.broadcast(BatchKind::kPubSub, as_bytes(payload), Reliability::kReliable, priority, Instant{}));
    env::Outbox out;
    sender.drain(out);
    return out.sends.at(0).frame;
  }
  // From node 2, who passes it on; or from node 0, whose own it is.
  Status receive(const Buffer& frame, Broadcast& by, std::size_t from = 2, Instant now = {}) {
    return by.on_message(fleet.nodes[from].id, static_cast<wire::MessageType>(frame[0]), Bytes(frame).subspan(1), now);
  }
  static Buffer with_bad_signature(Buffer frame) {
    frame[frame.size() - 2] ^= 1;  // before the last byte, which is `hops`
    return frame;
  }
};

TEST(Broadcast, a_forged_batch_is_refused_and_does_not_shadow_the_real_one) {
  Pair pair;
  const Buffer real = pair.next_frame();
  Buffer forged = real;
  forged[40] ^= 1;
  EXPECT_FALSE(pair.receive(forged, pair.receiver));
  EXPECT_TRUE(pair.receive(real, pair.receiver));
  EXPECT_EQ(pair.delivered, 1u);
}

TEST(Broadcast, cables_carry_payloads_as_they_are) {
  Pair pair;
  const std::string said(2000, 'x');
  const auto packed = [&](Duration round_trip) {
    pair.least_round_trip = round_trip;
    return pair.next_frame(false, said)[0] == static_cast<std::uint8_t>(wire::MessageType::kBroadcastPacked);
  };
  EXPECT_FALSE(packed(Duration::zero()));  // not measured
  EXPECT_TRUE(packed(3ms));
  EXPECT_FALSE(packed(200us));
}

TEST(Broadcast, a_packed_batch_counts_for_nothing_else_and_what_does_not_unpack_is_refused_and_not_passed_on) {
  Pair pair;
  pair.least_round_trip = 3ms;
  const Buffer real = pair.next_frame(false, std::string(2000, 'x'));
  Buffer as_plain = real;
  as_plain[0] = static_cast<std::uint8_t>(wire::MessageType::kBroadcast);
  EXPECT_FALSE(pair.receive(as_plain, pair.receiver));
  pair.least_round_trip = {};
  Pair plain;
  Buffer as_packed = plain.next_frame(false, std::string(2000, 'x'));
  as_packed[0] = static_cast<std::uint8_t>(wire::MessageType::kBroadcastPacked);
  EXPECT_FALSE(plain.receive(as_packed, plain.receiver, 0));  // from its origin, whose signature nobody needs to check
  EXPECT_FALSE(plain.receive(as_packed, plain.receiver, 2));
  EXPECT_EQ(plain.delivered, 0u);
  EXPECT_TRUE(pair.receive(real, pair.receiver));
  EXPECT_EQ(pair.delivered, 1u);
}

TEST(Broadcast, who_does_not_know_the_time_hears_what_an_origin_itself_says_and_asks_again_for_what_others_bring) {
  Pair pair;
  for (const std::size_t i : {0u, 2u}) pair.receiver.on_link_up(pair.fleet.nodes[i].id, Instant{});
  pair.fleet_ms[0] = 1'000'000;
  EXPECT_TRUE(pair.receive(pair.next_frame(), pair.receiver, 0));
  EXPECT_EQ(pair.delivered, 1u);
  EXPECT_EQ(pair.receiver.missing(), 0u);
  const Buffer passed_on = pair.next_frame();
  EXPECT_FALSE(pair.receive(passed_on, pair.receiver, 2));
  EXPECT_EQ(pair.delivered, 1u);
  EXPECT_EQ(pair.receiver.missing(), 1u);
  pair.fleet_ms[1] = 1'000'000;
  EXPECT_TRUE(pair.receive(passed_on, pair.receiver, 2));
  EXPECT_EQ(pair.delivered, 2u);
}

TEST(Broadcast, what_its_origin_itself_brings_is_heard_and_goes_on_only_with_a_good_signature) {
  Pair pair;
  pair.receiver.on_link_up(pair.fleet.nodes[2].id, Instant{});
  env::Outbox out;
  pair.receiver.drain(out);
  out = {};
  EXPECT_FALSE(pair.receive(Pair::with_bad_signature(pair.next_frame()), pair.receiver, 0));
  EXPECT_EQ(pair.delivered, 1u);  // the link says whose it is
  pair.receiver.drain(out);
  EXPECT_TRUE(out.sends.empty());
  EXPECT_TRUE(pair.receive(pair.next_frame(), pair.receiver, 0));
  EXPECT_EQ(pair.delivered, 2u);
  pair.receiver.drain(out);
  EXPECT_EQ(out.sends.size(), 1u);
}

TEST(Broadcast, a_direct_batch_is_checked_when_somebody_asks_for_it) {
  Pair pair;
  const NodeId asker = pair.fleet.nodes[2].id;
  pair.receiver.on_link_up(asker, Instant{});
  const NodeId origin = pair.fleet.nodes[0].id;
  EXPECT_TRUE(pair.receive(Pair::with_bad_signature(pair.next_frame(true)), pair.receiver, 0));
  EXPECT_TRUE(pair.receive(pair.next_frame(true), pair.receiver, 0));
  EXPECT_EQ(pair.delivered, 2u);
  env::Outbox out;
  pair.receiver.drain(out);
  out = {};
  const wire::BroadcastGraft graft{{{origin, BootEpoch{1}, Sequence{1}}, {origin, BootEpoch{1}, Sequence{2}}}};
  EXPECT_TRUE(pair.receiver.on_message(asker, wire::MessageType::kBroadcastGraft, wire::encode(graft), Instant{} + 1s));
  pair.receiver.drain(out);
  EXPECT_EQ(out.sends.size(), 1u);  // the second
  EXPECT_EQ(pair.receiver.stats().refused, 1u);
}

// Between the ends of a graft all batches go, until it shows that the other end has them from elsewhere.
TEST(Broadcast, a_grafted_link_carries_no_more_when_copies_come_along_it_in_vain) {
  Pair pair;
  const NodeId origin = pair.fleet.nodes[0].id, other = pair.fleet.nodes[2].id;
  for (const NodeId each : {origin, other}) pair.receiver.on_link_up(each, Instant{});
  for (const NodeId each : {origin, other}) {  // both have us beside their way to the root: neither link is of the tree
    const wire::TreePosition position{.root = NodeId{}, .distance_us = 1, .path = {7}};
    EXPECT_TRUE(
        pair.receiver.on_message(each, wire::MessageType::kBroadcastPosition, wire::encode(position), Instant{}));
  }
  pair.members = 100;
  const auto passed_to_other = [&] {
    env::Outbox out;
    pair.receiver.drain(out);
    return std::ranges::count_if(out.sends, [&](const env::Send& send) {
      return send.to == other && send.frame.front() == static_cast<std::uint8_t>(wire::MessageType::kBroadcast);
    });
  };
  const auto graft = [&] {
    EXPECT_TRUE(pair.receiver.on_message(other, wire::MessageType::kBroadcastGraft,
                                         wire::encode(wire::BroadcastGraft{}), Instant{}));
  };
  (void)passed_to_other();
  graft();
  int carried = 0;
  for (int i = 0; i < 40; ++i) {
    const Buffer frame = pair.next_frame();
    EXPECT_TRUE(pair.receive(frame, pair.receiver, 0));
    carried += static_cast<int>(passed_to_other());
    EXPECT_TRUE(pair.receive(frame, pair.receiver, 2));
  }
  EXPECT_EQ(carried, 32);
  graft();
  EXPECT_TRUE(pair.receive(pair.next_frame(), pair.receiver, 0));
  EXPECT_EQ(passed_to_other(), 1) << "asked again, it carries again";
}

// An origin with five links in a fleet of forty; one of them is the way to the tree's root.
struct Origin {
  test::Fleet fleet{6};
  trust::Directory directory = fleet.directory();
  Broadcast broadcast;
  explicit Origin(double loss, std::size_t members = 40)
      : broadcast(options(loss, members), fleet.nodes[0].keys.secret, directory) {
    broadcast.start(Instant{});
    for (std::size_t i = 1; i < 6; ++i) {
      broadcast.on_link_up(fleet.nodes[i].id, Instant{});
      const wire::TreePosition position{.root = NodeId{}, .distance_us = 1000 * i, .path = {7}};
      EXPECT_TRUE(broadcast.on_message(fleet.nodes[i].id, wire::MessageType::kBroadcastPosition, wire::encode(position),
                                       Instant{}));
    }
  }
  Broadcast::Options options(double loss, std::size_t members) const {
    Broadcast::Options made;
    made.self = fleet.nodes[0].id;
    made.epoch = BootEpoch{1};
    made.members = [members] { return members; };
    made.loss = [loss](NodeId) { return loss; };
    return made;
  }
  // How many links carry it at once.
  std::size_t carried(env::Priority priority, Instant now = {}, Reliability reliability = Reliability::kReliable) {
    EXPECT_TRUE(broadcast.broadcast(BatchKind::kPubSub, as_bytes("x"), reliability, priority, now));
    return batches(now).size();
  }
  // To whom batches leave.
  std::vector<NodeId> batches(Instant now) {
    broadcast.on_timer(now);
    env::Outbox out;
    broadcast.drain(out);
    std::vector<NodeId> to;
    for (const env::Send& send : out.sends) {
      const auto type = static_cast<wire::MessageType>(send.frame.front());
      if (type == wire::MessageType::kBroadcast || type == wire::MessageType::kBroadcastForAll) to.push_back(send.to);
    }
    return to;
  }
};

TEST(Broadcast, a_slow_neighbour_is_left_behind_but_with_what_is_urgent_or_for_all) {
  Origin origin(0, 6);  // linked to everybody
  const NodeId slow = origin.fleet.nodes[1].id;
  std::vector<env::LinkBytes> bytes;
  for (std::size_t i = 1; i < 6; ++i) bytes.push_back({origin.fleet.nodes[i].id});
  Instant now{};
  for (int i = 0; i < 10; ++i) {
    now += 100ms;
    for (env::LinkBytes& each : bytes) each.arrived += each.peer == slow ? 1000 : 100'000;
    origin.broadcast.on_backlog(std::array{env::LinkBacklog{slow, 1u << 20, 1u << 20}});
    origin.broadcast.on_link_bytes(bytes, now);
  }
  EXPECT_EQ(origin.carried(env::Priority::kNormal, now), 4u);
  EXPECT_EQ(origin.carried(env::Priority::kUrgent, now), 5u);
  EXPECT_EQ(origin.carried(env::Priority::kNormal, now, Reliability::kForAll), 5u);
  EXPECT_LT(origin.broadcast.pace().waiting(false), 1000u) << "nobody waits for the slow one";
  EXPECT_TRUE(origin.batches(now + 1s).empty());
  origin.broadcast.on_backlog({});
  EXPECT_EQ(origin.batches(now + 2s), std::vector{slow});
  EXPECT_EQ(origin.broadcast.stats().left_behind, 0u);
}

TEST(Broadcast, a_batch_for_all_comes_as_a_type_of_its_own_and_no_other) {
  Pair pair;
  EXPECT_TRUE(pair.sender.broadcast(BatchKind::kPubSub, as_bytes("x"), Reliability::kForAll, env::Priority::kNormal,
                                    Instant{}));
  env::Outbox out;
  pair.sender.drain(out);
  const Buffer real = out.sends.at(0).frame;
  EXPECT_EQ(real[0], static_cast<std::uint8_t>(wire::MessageType::kBroadcastForAll));
  Buffer as_other = real;
  as_other[0] = static_cast<std::uint8_t>(wire::MessageType::kBroadcast);
  EXPECT_EQ(pair.receive(as_other, pair.receiver).error().code, Code::kDataLoss);
  as_other = pair.next_frame();
  as_other[0] = static_cast<std::uint8_t>(wire::MessageType::kBroadcastForAll);
  EXPECT_EQ(pair.receive(as_other, pair.receiver).error().code, Code::kDataLoss);
  EXPECT_TRUE(pair.receive(real, pair.receiver));
  EXPECT_EQ(pair.delivered, 1u);
}

TEST(Broadcast, where_links_lose_packets_more_of_them_carry_a_batch) {
  const std::size_t clean = Origin(0).carried(env::Priority::kNormal);
  EXPECT_EQ(Origin(0.02).carried(env::Priority::kNormal), clean);
  EXPECT_GT(Origin(0.1).carried(env::Priority::kNormal), clean);
}

TEST(Broadcast, urgent_batches_are_announced_at_once_and_others_gathered) {
  Origin origin(0);
  const Instant later = Instant{} + 10s;
  origin.broadcast.on_timer(later);
  EXPECT_LT(origin.carried(env::Priority::kNormal, later), 5u);
  EXPECT_EQ(origin.broadcast.next_deadline(), later + 100ms);
  (void)origin.carried(env::Priority::kUrgent, later);
  EXPECT_EQ(origin.broadcast.next_deadline(), later + 10ms);
}

// What waits here is this node's own, if nothing of the neighbour's goes on: two that publish to each other would keep
// each other slow for ever.
TEST(Broadcast, only_those_whose_batches_go_on_from_here_are_slowed) {
  Pair pair;
  const auto slowed = [&](bool direct) {
    EXPECT_TRUE(pair.receive(pair.next_frame(direct), pair.receiver, 0, Instant{} + 1s));
    env::Outbox out;
    pair.receiver.drain(out);
    return std::ranges::any_of(out.sends, [](const env::Send& send) {
      return send.frame.front() == static_cast<std::uint8_t>(wire::MessageType::kBroadcastSlowdown);
    });
  };
  pair.receiver.on_link_up(pair.fleet.nodes[0].id, Instant{});
  const auto waits = [&](std::size_t to) {
    return env::LinkBacklog{pair.fleet.nodes[to].id, env::kLinkQueueBytesMax / 4, 0};
  };
  pair.receiver.on_backlog(std::array{waits(0)});
  EXPECT_FALSE(slowed(false));  // there is nobody else
  pair.receiver.on_link_up(pair.fleet.nodes[2].id, Instant{});
  pair.receiver.on_backlog(std::array{waits(0), waits(2)});
  EXPECT_FALSE(slowed(true));
  EXPECT_TRUE(slowed(false));
}

TEST(Broadcast, who_sends_much_goes_behind_those_of_its_urgency_who_do_not_and_its_urgent_messages_stay_before_them) {
  Pair pair;
  for (const std::size_t i : {0u, 2u}) pair.receiver.on_link_up(pair.fleet.nodes[i].id, Instant{});
  const auto place = [&] {
    env::Outbox out;
    pair.receiver.drain(out);
    std::optional<env::Priority> found;
    for (const env::Send& send : out.sends) {
      if (send.frame.front() == static_cast<std::uint8_t>(wire::MessageType::kBroadcast)) found = send.priority;
    }
    return found;
  };
  const auto say = [&](env::Priority priority) {
    EXPECT_TRUE(
        pair.receiver.broadcast(BatchKind::kPubSub, as_bytes("x"), Reliability::kReliable, priority, Instant{}));
    return place();
  };
  const auto hear = [&](const std::string& payload, env::Priority priority) {
    EXPECT_TRUE(pair.receive(pair.next_frame(false, payload, priority), pair.receiver, 0));
    return place();
  };
  EXPECT_EQ(hear(std::string(1000, ' '), env::Priority::kNormal), env::Priority::kNormal) << "nobody else is there";
  EXPECT_EQ(say(env::Priority::kNormal), env::Priority::kNormal);
  EXPECT_EQ(hear("x", env::Priority::kNormal), env::Priority::kLow);
  EXPECT_EQ(say(env::Priority::kUrgent), env::Priority::kUrgent);
  EXPECT_EQ(hear("x", env::Priority::kUrgent), env::Priority::kUrgent);
  EXPECT_EQ(say(env::Priority::kNormal), env::Priority::kNormal);
  const wire::BroadcastGraft graft{{{pair.fleet.nodes[0].id, BootEpoch{1}, Sequence{2}}}};
  EXPECT_TRUE(pair.receiver.on_message(pair.fleet.nodes[2].id, wire::MessageType::kBroadcastGraft, wire::encode(graft),
                                       Instant{}));
  EXPECT_EQ(place(), env::Priority::kLow) << "asked for again, it waits as it did";
}

TEST(Broadcast, a_replay_is_not_delivered_even_after_the_receiver_restarted) {
  Pair pair;
  const Buffer old = pair.next_frame();
  EXPECT_TRUE(pair.receive(old, pair.receiver));
  EXPECT_TRUE(pair.receive(old, pair.receiver));
  EXPECT_EQ(pair.delivered, 1u);
  pair.receiver.on_timer(Instant{} + 40s);
  env::Outbox out;
  pair.receiver.drain(out);
  ASSERT_EQ(out.records.size(), 1u);
  Broadcast again(pair.options(1), pair.fleet.nodes[1].keys.secret, pair.directory);
  ASSERT_TRUE(again.load(out.records[0].key, out.records[0].value));
  again.start(Instant{});
  EXPECT_TRUE(pair.receive(old, again));
  EXPECT_EQ(pair.delivered, 1u);
  EXPECT_TRUE(pair.receive(pair.next_frame(), again));
  EXPECT_EQ(pair.delivered, 2u);
}

TEST(Broadcast, a_batch_far_behind_the_window_counts_as_seen) {
  Pair pair;
  const Buffer first = pair.next_frame();
  for (int i = 0; i < 5000; ++i) (void)pair.next_frame();
  EXPECT_TRUE(pair.receive(pair.next_frame(), pair.receiver));
  EXPECT_TRUE(pair.receive(first, pair.receiver));
  EXPECT_EQ(pair.delivered, 1u);
}

TEST(Broadcast, too_much_at_once_is_refused) {
  Pair pair;
  const Buffer large(kBatchBytesMax + 1);
  EXPECT_EQ(pair.sender.broadcast(BatchKind::kState, large, Reliability::kReliable, env::Priority::kState, Instant{})
                .error()
                .code,
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::mesh
