#include "quic/endpoint.h"

#include <gtest/gtest.h>

#include "quic/testing.h"

namespace sedge::quic {
namespace {

using env::Priority;
using testing::at;
using testing::pattern;
using testing::Process;
using testing::World;

std::vector<Buffer> frames_of(Process& process, Priority priority) {
  std::vector<Buffer> out;
  for (const FrameIn* in : process.all<FrameIn>()) {
    if (in->priority == priority) out.push_back(in->frame);
  }
  return out;
}

TEST(Endpoint, both_sides_are_linked_and_know_each_other) {
  World w;
  ASSERT_TRUE(w.link());
  const LinkUp& up = *w.b->last<LinkUp>();
  EXPECT_EQ(up.peer.id, w.first.id);
  EXPECT_EQ(up.peer.address, w.a->address);
  EXPECT_FALSE(up.peer.dialled_by_us);
  EXPECT_EQ(up.peer.certificate_chain, w.first.encoded);
  EXPECT_EQ(up.boot_epoch.value, 1u);
  EXPECT_TRUE(w.a->last<LinkUp>()->peer.dialled_by_us);
  EXPECT_EQ(w.b->endpoint->half_open(), 0u);
}

TEST(Endpoint, frames_of_every_size_arrive_whole_and_in_order) {
  World w;
  ASSERT_TRUE(w.link());
  std::vector<Buffer> sent;
  for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{64}, std::size_t{127}, std::size_t{128},
                                 std::size_t{1100}, std::size_t{8191}, std::size_t{8192}, std::size_t{65536},
                                 std::size_t{300000}, env::kFrameBytesMax, std::size_t{3}}) {
    sent.push_back(pattern(size, static_cast<std::uint8_t>(size)));
    ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, sent.back()));
    ASSERT_TRUE(w.send(*w.b, w.first, Priority::kNormal, sent.back()));
  }
  EXPECT_TRUE(w.net.run(
      20s, [&] { return w.a->all<FrameIn>().size() == sent.size() && w.b->all<FrameIn>().size() == sent.size(); }));
  EXPECT_TRUE(frames_of(*w.b, Priority::kNormal) == sent);
  EXPECT_TRUE(frames_of(*w.a, Priority::kNormal) == sent);
  w.net.run(1s);
  EXPECT_EQ(w.a->endpoint->stats(w.second.id).queued_bytes, 0u);
  EXPECT_GT(w.net.largest_batch, 10000u) << "equal packets should leave in batches";
}

TEST(Endpoint, packets_become_as_large_as_the_way_allows) {
  for (const auto& [way, packet] : {std::pair{1300u, 1232u}, {1500u, 1452u}, {9000u, 8952u}}) {
    World w(3, {.packet_bytes_max = way});
    ASSERT_TRUE(w.link());
    ASSERT_TRUE(w.net.run(30s, [&] { return w.net.largest_packet == packet; })) << way << ": " << w.net.largest_packet;
    ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, Buffer(env::kFrameBytesMax, 1)));
    ASSERT_TRUE(w.net.run(10s, [&] { return !w.b->all<FrameIn>().empty(); })) << way;
    EXPECT_EQ(w.net.largest_packet, packet);
  }
}

TEST(Endpoint, many_small_frames_share_packets) {
  World w;
  ASSERT_TRUE(w.link());
  const std::uint64_t before = w.net.packets;
  for (int i = 0; i < 10000; ++i) {
    ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, pattern(64, static_cast<std::uint8_t>(i))));
  }
  ASSERT_TRUE(w.net.run(10s, [&] { return w.b->all<FrameIn>().size() == 10000; }));
  EXPECT_LT(w.net.packets - before, 2000u);
  const auto frames = frames_of(*w.b, Priority::kNormal);
  for (std::size_t i = 0; i < frames.size(); ++i) ASSERT_EQ(frames[i], pattern(64, static_cast<std::uint8_t>(i)));
}

TEST(Endpoint, an_urgent_frame_overtakes_the_bulk_that_waits) {
  World w(2, {.latency = 10ms});
  ASSERT_TRUE(w.link());
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(w.send(*w.a, w.second, Priority::kBulk, pattern(env::kFrameBytesMax, 1)));
  w.net.run(5ms);
  ASSERT_TRUE(w.send(*w.a, w.second, Priority::kUrgent, pattern(64, 2)));
  ASSERT_TRUE(w.net.run(60s, [&] { return w.b->all<FrameIn>().size() == 8; }));
  std::size_t place = 0;
  while (w.b->all<FrameIn>()[place]->priority != Priority::kUrgent) ++place;
  EXPECT_LT(place, 3u);
}

// 200 MB/s: a burst of 64 KiB takes 330 us, and BBR has three of them on the wire.
TEST(Endpoint, bulk_leaves_a_quick_path_free_while_urgent_frames_are_sent) {
  World w(3, {.latency = 20us, .bytes_per_ms = 200'000});
  ASSERT_TRUE(w.link());
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(w.send(*w.a, w.second, Priority::kBulk, pattern(env::kFrameBytesMax, 1)));
  const auto delay = [&] {
    const Instant sent = w.net.now;
    const std::size_t before = frames_of(*w.b, Priority::kUrgent).size();
    EXPECT_TRUE(w.send(*w.a, w.second, Priority::kUrgent, pattern(64, 2)));
    EXPECT_TRUE(w.net.run(1s, [&] { return frames_of(*w.b, Priority::kUrgent).size() > before; }));
    return w.net.now - sent;
  };
  w.net.run(10ms);
  EXPECT_GT(delay(), 400us) << "there is nothing to be better than";
  std::vector<Duration> delays;
  for (int i = 0; i < 9; ++i, w.net.run(500us)) delays.push_back(delay());
  std::ranges::sort(delays);
  EXPECT_LT(delays[4], 300us);
  EXPECT_LT(frames_of(*w.b, Priority::kBulk).size(), 7u) << "the bulk was over already";
}

TEST(Endpoint, loss_reordering_and_duplication_change_nothing_but_time) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    World w(seed, {.latency = 5ms, .jitter = 4ms, .loss = 0.05, .duplication = 0.05});
    ASSERT_TRUE(w.link()) << seed;
    std::vector<Buffer> sent;
    Prng prng(seed);
    for (int i = 0; i < 300; ++i) sent.push_back(pattern(1 + prng.below(5000), static_cast<std::uint8_t>(i)));
    for (const Buffer& frame : sent) {
      ASSERT_TRUE(w.send(*w.a, w.second, Priority::kState, frame));
      ASSERT_TRUE(w.send(*w.b, w.first, Priority::kControl, frame));
    }
    EXPECT_TRUE(w.net.run(60s, [&] {
      return w.a->all<FrameIn>().size() == sent.size() && w.b->all<FrameIn>().size() == sent.size();
    })) << seed;
    EXPECT_TRUE(frames_of(*w.b, Priority::kState) == sent) << seed;
    EXPECT_TRUE(frames_of(*w.a, Priority::kControl) == sent) << seed;
  }
}

TEST(Endpoint, datagrams_arrive_and_the_oldest_fall_out_of_a_full_queue) {
  World w;
  ASSERT_TRUE(w.link());
  ASSERT_TRUE(w.a->endpoint->send_datagram(w.second.id, pattern(env::kDatagramBytesMax, 3), w.net.now));
  ASSERT_TRUE(w.net.run(1s, [&] { return w.b->last<DatagramIn>() != nullptr; }));
  EXPECT_EQ(w.b->last<DatagramIn>()->payload, pattern(env::kDatagramBytesMax, 3));
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(w.a->endpoint->send_datagram(w.second.id, pattern(1000, static_cast<std::uint8_t>(i)), w.net.now));
  }
  EXPECT_GT(w.a->endpoint->counters().queued_datagrams_dropped, 700u);
  w.net.run(5s);
  EXPECT_EQ(w.b->last<DatagramIn>()->payload, pattern(1000, static_cast<std::uint8_t>(999)));
  EXPECT_EQ(w.a->endpoint->send_datagram(w.second.id, Buffer(env::kDatagramBytesMax + 1), w.net.now).error().code,
            Code::kInvalidArgument);
}

// Two packets, and neither end is asked for more: who is alive costs a fleet this much at all times.
TEST(Endpoint, a_sign_of_life_is_an_empty_datagram_and_its_acknowledgement) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.run(500ms);
  const auto sent = [&] { return w.a->endpoint->counters().datagrams_out + w.b->endpoint->counters().datagrams_out; };
  for (Process* const asks : {w.a, w.b, w.a}) {
    const std::uint64_t before = sent();
    const std::size_t seen = w.a->all<DatagramIn>().size();
    const auto& other = asks == w.a ? w.second : w.first;
    ASSERT_TRUE(asks->endpoint->send_datagram(other.id, {}, w.net.now));
    w.net.run(200ms);
    EXPECT_EQ(sent() - before, 2u);
    EXPECT_EQ(w.a->all<DatagramIn>().size() - seen, 1u);
    ASSERT_FALSE(w.b->all<DatagramIn>().empty());
    EXPECT_TRUE(w.b->last<DatagramIn>()->payload.empty());
  }
}

TEST(Endpoint, a_flood_of_signs_of_life_is_a_few_of_them) {
  World w;
  ASSERT_TRUE(w.link());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(w.a->endpoint->send_datagram(w.second.id, {}, w.net.now));
    w.net.run(100us);
  }
  w.net.run(50ms);
  EXPECT_GE(w.b->all<DatagramIn>().size(), 5u);
  EXPECT_LE(w.b->all<DatagramIn>().size(), 12u);
}

TEST(Endpoint, a_full_queue_says_so_and_holds_no_more) {
  World w;
  ASSERT_TRUE(w.link());
  Status status;
  int accepted = 0;
  while ((status = w.send(*w.a, w.second, Priority::kBulk, Buffer(1u << 20, 7)))) ++accepted;
  EXPECT_EQ(status.error().code, Code::kResourceExhausted);
  EXPECT_EQ(accepted, 7);  // 8 MiB less the frames' lengths
  EXPECT_EQ(w.send(*w.a, w.fleet.enrol("nobody"), Priority::kBulk, Buffer(1)).error().code, Code::kUnavailable);
  EXPECT_EQ(w.send(*w.a, w.second, Priority::kBulk, {}).error().code, Code::kInvalidArgument);
  w.a->endpoint->hangup(w.second.id, env::LinkDown::kTooSlow, w.net.now);
  w.net.run(1s);
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kTooSlow);
  EXPECT_EQ(w.b->last<LinkDown>()->reason, env::LinkDown::kTooSlow);
}

TEST(Endpoint, two_dials_at_once_end_in_one_link_that_both_agree_on) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    World w(seed, {.latency = 2ms, .jitter = 6ms});
    ASSERT_TRUE(w.a->endpoint->dial({w.b->address, w.second.id}, w.net.now));
    w.net.run(Duration(seed * 700'000));
    ASSERT_TRUE(w.b->endpoint->dial({w.a->address, {}}, w.net.now));
    w.net.run(4s);
    ASSERT_TRUE(w.a->endpoint->linked(w.second.id) && w.b->endpoint->linked(w.first.id)) << seed;
    // Of each side's ups and downs exactly one link is left, and it is the one that the smaller id dialled.
    EXPECT_EQ(w.a->all<LinkUp>().size(), w.a->all<LinkDown>().size() + 1);
    EXPECT_EQ(w.b->all<LinkUp>().size(), w.b->all<LinkDown>().size() + 1);
    EXPECT_TRUE(w.a->last<LinkUp>()->peer.dialled_by_us);
    EXPECT_FALSE(w.b->last<LinkUp>()->peer.dialled_by_us);
    ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, pattern(10, 1)));
    ASSERT_TRUE(w.send(*w.b, w.first, Priority::kNormal, pattern(10, 2)));
    EXPECT_TRUE(w.net.run(1s, [&] { return w.a->last<FrameIn>() && w.b->last<FrameIn>(); })) << seed;
    EXPECT_EQ(w.a->endpoint->connections(), 1u);
    EXPECT_EQ(w.b->endpoint->connections(), 1u);
  }
}

TEST(Endpoint, a_second_dial_of_the_same_node_is_dropped_by_its_dialler) {
  World w;
  ASSERT_TRUE(w.link());
  EXPECT_EQ(w.a->endpoint->dial({at(9), w.second.id}, w.net.now).error().code, Code::kAlreadyExists);
  ASSERT_TRUE(w.a->endpoint->dial({w.b->address, {}}, w.net.now));
  w.net.run(2s);
  ASSERT_NE(w.a->last<DialFailed>(), nullptr);
  EXPECT_NE(w.a->last<DialFailed>()->failure.reason.find("linked to"), std::string::npos);
  EXPECT_TRUE(w.a->all<LinkDown>().empty() && w.b->all<LinkDown>().empty());
  EXPECT_EQ(w.b->endpoint->connections(), 1u);
}

TEST(Endpoint, an_idle_link_stays_and_a_dead_process_is_noticed_within_three_seconds) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.run(60s);
  EXPECT_TRUE(w.a->endpoint->linked(w.second.id) && w.b->endpoint->linked(w.first.id));
  w.net.kill(*w.b);
  const Instant killed = w.net.now;
  ASSERT_TRUE(w.net.run(5s, [&] { return w.a->last<LinkDown>() != nullptr; }));
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kTimeout);
  EXPECT_LE(w.net.now - killed, 3s);
}

TEST(Endpoint, a_process_that_died_on_a_living_machine_is_noticed_at_the_next_packet) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.kill(*w.b, true);
  const Instant killed = w.net.now;
  ASSERT_TRUE(w.send(*w.a, w.second, Priority::kTask, pattern(10, 1)));
  ASSERT_TRUE(w.net.run(5s, [&] { return w.a->last<LinkDown>() != nullptr; }));
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kRefused);
  EXPECT_LE(w.net.now - killed, 400ms);
}

TEST(Endpoint, a_forged_refusal_does_not_cut_a_living_link) {
  World w;
  ASSERT_TRUE(w.link());
  for (int i = 0; i < 20; ++i) {
    w.a->endpoint->on_unreachable(w.b->address, w.net.now);
    w.net.run(100ms);
  }
  EXPECT_TRUE(w.a->all<LinkDown>().empty());
}

TEST(Endpoint, a_dial_to_nobody_fails_at_once_or_after_the_timeout) {
  World w;
  w.net.kill(*w.b, true);
  ASSERT_TRUE(w.a->endpoint->dial({w.b->address, {}}, w.net.now));
  EXPECT_EQ(w.a->endpoint->dial({w.b->address, {}}, w.net.now).error().code, Code::kAlreadyExists);
  ASSERT_TRUE(w.net.run(100ms, [&] { return w.a->last<DialFailed>() != nullptr; }));
  EXPECT_EQ(w.a->last<DialFailed>()->failure.address, w.b->address);
  ASSERT_TRUE(w.a->endpoint->dial({at(77), {}}, w.net.now));
  ASSERT_TRUE(w.net.run(4s, [&] { return w.a->all<DialFailed>().size() == 2; }));
  EXPECT_EQ(w.a->endpoint->connections(), 0u);
}

TEST(Endpoint, a_restarted_node_is_linked_again_at_once_and_its_old_link_falls) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.kill(*w.b);
  Process& again = w.start(w.second, w.b->address, 2);
  // What `a` sends on the old link is answered by a stateless reset.
  ASSERT_TRUE(w.send(*w.a, w.second, Priority::kNormal, pattern(64, 1)));
  ASSERT_TRUE(w.net.run(200ms, [&] { return w.a->last<LinkDown>() != nullptr; }));
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kRefused);
  EXPECT_GE(again.endpoint->counters().resets_sent, 1u);
}

TEST(Endpoint, a_restarted_node_that_dials_replaces_its_old_link) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.kill(*w.b);
  Process& again = w.start(w.second, at(3), 2);
  ASSERT_TRUE(again.endpoint->dial({w.a->address, w.first.id}, w.net.now));
  ASSERT_TRUE(w.net.run(200ms, [&] { return w.a->all<LinkUp>().size() == 2; }));
  EXPECT_EQ(w.a->last<LinkDown>()->reason, env::LinkDown::kReplaced);
  EXPECT_EQ(w.a->last<LinkUp>()->boot_epoch.value, 2u);
  w.net.run(5s);
  EXPECT_TRUE(again.endpoint->linked(w.first.id) && w.a->endpoint->linked(w.second.id));
}

TEST(Endpoint, a_second_process_with_the_same_key_is_refused_and_named) {
  World w;
  ASSERT_TRUE(w.link());
  Process& clone = w.start(w.second, at(3), 1);
  ASSERT_TRUE(clone.endpoint->dial({w.a->address, w.first.id}, w.net.now));
  w.net.run(1s);
  ASSERT_NE(w.a->last<Clone>(), nullptr);
  EXPECT_EQ(w.a->last<Clone>()->peer, w.second.id);
  EXPECT_EQ(w.a->last<Clone>()->kept, w.b->address);
  EXPECT_EQ(w.a->last<Clone>()->refused, clone.address);
  EXPECT_TRUE(w.a->all<LinkDown>().empty());
  // Two processes with one key that meet each other say so too.
  ASSERT_TRUE(clone.endpoint->dial({w.b->address, {}}, w.net.now));
  w.net.run(1s);
  ASSERT_NE(clone.last<Clone>(), nullptr);
  EXPECT_EQ(clone.last<Clone>()->peer, w.second.id);
  // And a node that dials itself is told, without an alarm.
  ASSERT_TRUE(w.a->endpoint->dial({w.a->address, {}}, w.net.now));
  w.net.run(1s);
  EXPECT_EQ(w.a->last<DialFailed>()->failure.reason, "that address is this node itself");
  EXPECT_EQ(w.a->all<Clone>().size(), 1u);
}

TEST(Endpoint, closing_lets_queued_frames_leave_and_says_goodbye) {
  World w;
  ASSERT_TRUE(w.link());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(w.send(*w.a, w.second, Priority::kState, pattern(10000, 1)));
  w.a->endpoint->close_all(w.net.now);
  EXPECT_EQ(w.a->endpoint->dial({at(5), {}}, w.net.now).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(w.net.run(450ms, [&] { return w.a->endpoint->closed() && w.b->last<LinkDown>() != nullptr; }));
  EXPECT_EQ(w.b->all<FrameIn>().size(), 50u);
  EXPECT_EQ(w.b->last<LinkDown>()->reason, env::LinkDown::kClosed);
  w.net.run(3s);
  EXPECT_EQ(w.a->endpoint->connections(), 0u);
  EXPECT_EQ(w.b->endpoint->connections(), 0u);
}

// Each goodbye met an end that had gone already, which answered it with its own, for as long as both remembered.
TEST(Endpoint, two_goodbyes_do_not_answer_each_other_again_and_again) {
  World w;
  ASSERT_TRUE(w.link());
  w.net.run(1s);
  const std::uint64_t before = w.net.packets;
  w.a->endpoint->close_all(w.net.now);
  w.b->endpoint->close_all(w.net.now);
  w.net.run(3s);
  EXPECT_TRUE(w.a->endpoint->closed() && w.b->endpoint->closed());
  EXPECT_LE(w.net.packets - before, 8u);
}

TEST(Endpoint, the_same_seed_gives_the_same_packet_sizes_at_the_same_times) {
  const auto trace = [](std::uint64_t seed) {
    World w(seed, {.latency = 5ms, .jitter = 3ms, .loss = 0.1});
    std::vector<std::int64_t> out;
    w.net.tap = [&](const env::Endpoint& from, const env::Endpoint&, Bytes payload) {
      out.insert(out.end(),
                 {w.net.now.time_since_epoch().count(), from.address[15], static_cast<std::int64_t>(payload.size())});
    };
    EXPECT_TRUE(w.link());
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(w.send(*w.a, w.second, Priority::kNormal, pattern(700, 1)));
    w.net.run(5s);
    return out;
  };
  EXPECT_EQ(trace(4), trace(4));
  EXPECT_NE(trace(4), trace(5));
}

}  // namespace
}  // namespace sedge::quic
