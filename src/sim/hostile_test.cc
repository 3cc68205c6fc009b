// Members that lie, and what becomes of it: nothing they may not do stays done, nobody falls over, and the others go
// on. A liar runs a whole node (so it has links, and answers probes) and sends whatever else it likes, signed with its
// own key.
#include <algorithm>
#include <limits>
#include <ranges>

#include <gtest/gtest.h>

#include "crdt/op.h"
#include "sim/world.h"
#include "trust/beacon.h"
#include "wire/broadcast_messages.h"
#include "wire/membership_messages.h"
#include "wire/state_messages.h"
#include "wire/task_messages.h"

namespace sedge::sim {
namespace {

using wire::MessageType;

WorldOptions fleet_of(std::size_t nodes, std::uint64_t seed) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  return options;
}

bool settle(World& world) {
  EXPECT_TRUE(world.boot_all());
  world.run(2s);  // one view does not mean that all links are there
  return world.run_until([&] { return world.one_view() && world.one_state(); }, 10s);
}

void write(World& world, std::size_t i, const std::string& path, const std::string& value) {
  world.act(i, [&](node::Node& node, Instant now) {
    node.when_durable(node.state().set(path, to_buffer(as_bytes(value)), now), [](const Status&) {});
  });
}

std::string read(const World& world, std::size_t i, const std::string& path) {
  const auto value = world.node(i).state().replica().read(path);
  return value && value->values.size() == 1 ? std::string(as_text(value->values[0])) : "";
}

// Everybody's ears for one topic.
struct Ears {
  Ears(World& of, const std::string& topic) : world(of), heard(of.size()) {
    for (std::size_t i = 0; i < world.size(); ++i) {
      if (world.up(i)) listen(i, topic);
    }
  }
  void listen(std::size_t i, const std::string& topic) {
    const auto hear = [this, i](const mesh::Message& message) { heard[i].emplace_back(as_text(message.payload)); };
    world.act(i, [&](node::Node& node, Instant now) { ASSERT_TRUE(node.subscribe(topic, hear, {}, now)); });
  }
  bool all_heard(std::size_t count) const {
    return std::ranges::all_of(heard, [count](const auto& one) { return one.size() == count; });
  }
  World& world;
  std::vector<std::vector<std::string>> heard;
};

void publish(World& world, std::size_t i, const std::string& topic, const std::string& payload) {
  world.act(i, [&](node::Node& node, Instant now) {
    node.publish(topic, as_bytes(payload), {}, 0, [](const Status& status) { EXPECT_TRUE(status); }, now);
  });
}

// A batch of messages as `signer` would send it if it were `origin`.
Buffer batch_frame(const World& world, std::size_t origin, std::size_t signer, std::uint64_t sequence, Buffer payload) {
  const wire::Publications messages{{{"orders", std::move(payload), std::nullopt}}};
  wire::Batch batch;
  batch.id = {world.id(origin), world.node(origin).options().epoch, {sequence}};
  batch.payload = wire::encode(messages);
  wire::SignedBatch signed_batch{.batch = wire::encode(batch)};
  signed_batch.signature = trust::sign(world.key(signer).secret, "sedge.batch.1", signed_batch.batch).bytes;
  return wire::frame(MessageType::kBroadcast, signed_batch);
}

crdt::Op op_of(const World& world, std::size_t origin, std::uint64_t sequence, std::uint64_t stamp_ms,
               const std::string& path) {
  crdt::Op op;
  op.dot = {world.id(origin), world.node(origin).options().epoch, {sequence}};
  op.stamp = crdt::Hlc::at_ms(stamp_ms);
  op.path = path;
  op.value = to_buffer(as_bytes("lie"));
  return op;
}

Buffer ops_frame(const World& world, std::vector<crdt::Op> ops, std::size_t signer) {
  wire::StateOps message;
  for (crdt::Op& op : ops) {
    crdt::sign_op(op, world.key(signer).secret);
    message.ops.push_back(crdt::encode_op(op));
  }
  return wire::frame(MessageType::kStateOps, message);
}

// Stamps in these tests are later than every node's clock was, and no more than half a second ahead.
std::uint64_t now_ms(World& world, std::size_t i) {
  std::uint64_t ms = 0;
  world.act(i, [&](node::Node& node, Instant now) { ms = node.state().fleet_ms(now); });
  return ms;
}

TEST(Hostile, what_is_said_in_anothers_name_is_dropped_and_its_sender_hung_up_on) {
  World world(fleet_of(5, 1));
  ASSERT_TRUE(settle(world));
  Ears ears(world, "orders");
  const std::uint64_t ms = now_ms(world, 1);
  for (std::uint64_t i = 1; i <= 40; ++i) {
    world.inject(4, 1, batch_frame(world, 2, 4, 1000 + i, Buffer(20, 7)));
    world.inject(4, 1, ops_frame(world, {op_of(world, 2, 1000 + i, ms, "field/north")}, 4));
  }
  world.run(3s);
  EXPECT_TRUE(ears.heard[1].empty());
  EXPECT_EQ(world.node(1).stats().frames_refused, 65u);
  EXPECT_EQ(world.node(1).state().stats().of(mesh::StateVerdict::kForged), 32u);
  EXPECT_EQ(read(world, 1, "field/north"), "");
  EXPECT_EQ(world.node(1).stats().peers_shunned, 1u);
  EXPECT_FALSE(world.node(1).membership().linked(world.id(4)));
  publish(world, 2, "orders", "true");
  EXPECT_TRUE(world.run_until([&] { return ears.all_heard(1); }, 3s)) << "the liar's node too";
  EXPECT_TRUE(world.deaths().empty());
}

TEST(Hostile, an_order_of_before_a_node_started_is_not_carried_out_whoever_sends_it_again) {
  World world(fleet_of(6, 2));
  for (std::size_t i = 0; i < 5; ++i) ASSERT_TRUE(world.boot(i));
  world.run(5s);
  Buffer kept;
  Ears ears(world, "orders");
  world.tamper(0, [&](std::size_t, const env::Send& send) {
    if (kept.empty() && !send.frame.empty() && send.frame[0] == static_cast<std::uint8_t>(MessageType::kBroadcast))
      kept = send.frame;
    return true;
  });
  publish(world, 0, "orders", "fire");
  world.run(5s);
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(ears.heard[1].size(), 1u);
  world.kill(1);  // within the half minute in which marks wait for the disk
  world.run(3s);
  ASSERT_TRUE(world.boot(1));
  ASSERT_TRUE(world.boot(5));  // and one that was never there
  Ears later(world, "orders");
  const auto linked = [&](std::size_t i) { return world.node(i).membership().linked(world.id(4)); };
  ASSERT_TRUE(world.run_until([&] { return linked(1) && linked(5); }, 10s));
  for (int i = 0; i < 20; ++i) {
    for (const std::size_t to : {1u, 5u}) world.inject(4, to, kept);
    world.run(200ms);
  }
  EXPECT_TRUE(later.heard[1].empty());
  EXPECT_TRUE(later.heard[5].empty());
  world.kill(0);  // the origin's next life begins with the same numbers
  world.run(3s);
  ASSERT_TRUE(world.boot(0));
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 10s));
  later.listen(0, "orders");
  for (std::size_t to = 1; to < 6; ++to) world.inject(4, to, kept);
  publish(world, 0, "orders", "hold");
  EXPECT_TRUE(world.run_until([&] { return later.all_heard(1); }, 5s));
  world.run(2s);
  EXPECT_TRUE(later.all_heard(1));
}

TEST(Hostile, an_age_told_ahead_of_a_batch_does_not_silence_it) {
  World world(fleet_of(14, 3));
  for (std::size_t i = 0; i < 13; ++i) ASSERT_TRUE(world.boot(i));
  world.run(12s);
  ASSERT_TRUE(world.boot(13));  // younger than the age that is told
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 10s));
  world.run(1s);
  Ears ears(world, "orders");
  wire::BroadcastHave lie;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    lie.batches.push_back({{world.id(0), world.node(0).options().epoch, {i}}, 8000});
  }
  for (std::size_t to = 1; to < 14; ++to) world.inject(5, to, wire::frame(MessageType::kBroadcastHave, lie));
  world.run(50ms);
  publish(world, 0, "orders", "hold");
  EXPECT_TRUE(world.run_until([&] { return ears.all_heard(1); }, 150ms)) << "before anybody asks for a repair";
}

TEST(Hostile, announcements_of_nothing_leave_room_for_true_ones) {
  WorldOptions options = fleet_of(12, 4);
  options.link.loss = 0.05;
  World world(options);
  ASSERT_TRUE(settle(world));
  Ears ears(world, "orders");
  std::size_t said = 0;
  for (std::uint64_t round = 0; round < 60; ++round, world.run(50ms)) {
    wire::BroadcastHave lie;
    for (std::uint64_t i = 0; i < 5000; ++i)
      lie.batches.push_back({{world.id(0), {1}, {100'000 + round * 5000 + i}}, 0});
    for (std::size_t to = 0; to < 12; ++to) world.inject(7, to, wire::frame(MessageType::kBroadcastHave, lie));
    if (round % 3 == 0) publish(world, 1, "orders", std::to_string(++said));
  }
  EXPECT_TRUE(world.run_until([&] { return ears.all_heard(said); }, 5s));
}

// While it lasts, who publishes much is told to wait, whoever it is; entries go on. Then the flooder is out, and
// everything does.
TEST(Hostile, who_floods_and_does_not_slow_down_is_hung_up_on_and_no_honest_link_is_cut) {
  WorldOptions options = fleet_of(12, 5);
  options.link.bytes_per_s = 2e6;
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(3s);
  Ears ears(world, "quiet");
  std::uint64_t sequence = 1'000'000;
  std::size_t late = 0;
  for (int round = 0; round < 600; ++round, world.run(10ms)) {
    for (std::size_t to = 0; to < 12; ++to) {  // as fast as its links take it, another batch to each
      if (to == 4 || !world.node(4).membership().linked(world.id(to))) continue;
      world.inject(4, to, batch_frame(world, 4, 4, ++sequence, Buffer(19'000, 1)));
    }
    if (round % 50 == 0) write(world, static_cast<std::size_t>(round / 50) % 4, "a/" + std::to_string(round), "true");
    if (round % 50 == 49) late += read(world, 11, "a/" + std::to_string(round - 49)) == "true" ? 0 : 1;
  }
  EXPECT_LE(late, 1u) << "of 12 entries, each looked for half a second later";
  std::uint64_t shunned = 0;
  for (std::size_t i = 0; i < 12; ++i) shunned += world.node(i).stats().peers_shunned;
  EXPECT_GT(shunned, 0u);
  world.run(10s);
  publish(world, 0, "quiet", "word");
  const auto heard = [&](std::size_t i) { return i == 4 || ears.heard[i].size() == 1; };
  EXPECT_TRUE(world.run_until([&] { return std::ranges::all_of(std::views::iota(0u, 12u), heard); }, 5s));
  EXPECT_EQ(world.counts().too_slow, 0u);
  EXPECT_TRUE(world.deaths().empty());
}

TEST(Hostile, asking_a_thousand_times_is_answered_a_few_times) {
  World world(fleet_of(4, 6));
  ASSERT_TRUE(settle(world));
  for (int i = 0; i < 20; ++i) write(world, 0, "big/" + std::to_string(i), std::string(20'000, 'x'));
  ASSERT_TRUE(world.run_until([&] { return world.one_state() && !read(world, 3, "big/19").empty(); }, 5s));
  const std::uint64_t sent = world.bytes_sent(1);
  const std::uint64_t dropped = world.node(1).meter().dropped();
  const Buffer pull = wire::frame(MessageType::kStateVector, wire::StateVector{{1, 2}, 0, false, true, {}});
  const Buffer table = wire::frame(MessageType::kMemberSync, wire::MemberSync{true, ~std::uint64_t{0}, {}});
  const Buffer stale = wire::frame(MessageType::kStateStale, wire::StateStale{});
  for (int i = 0; i < 6000; ++i) world.inject(3, 1, i % 3 == 0 ? pull : i % 3 == 1 ? table : stale);
  world.run(1s);
  EXPECT_GT(world.node(1).meter().dropped() - dropped, 5000u);
  EXPECT_LT(world.bytes_sent(1) - sent, std::uint64_t{12} << 20) << "1 GB were asked for";
  EXPECT_EQ(world.counts().too_slow, 0u);
  write(world, 0, "after", "it");
  EXPECT_TRUE(world.run_until([&] { return read(world, 1, "after") == "it"; }, 3s));
}

TEST(Hostile, a_member_that_tells_of_deaths_is_refuted_and_cannot_use_up_the_numbers) {
  World world(fleet_of(20, 7));
  ASSERT_TRUE(settle(world));
  Ears ears(world, "orders");
  std::size_t said = 0;
  for (std::uint64_t round = 0; round < 15; ++round, world.run(200ms)) {
    const std::uint64_t own = world.node(3).membership().find(world.id(3))->incarnation.value;
    for (const std::uint64_t incarnation : {own, own + 1, ~std::uint64_t{0}}) {
      const wire::MemberGossip lie{{}, {{world.id(3), {1}, {incarnation}, wire::MemberState::kDead}}};
      for (std::size_t to = 0; to < 20; ++to) world.inject(9, to, wire::frame(MessageType::kMemberGossip, lie));
    }
    publish(world, 3, "orders", std::to_string(++said));
  }
  EXPECT_TRUE(world.run_until([&] { return ears.all_heard(said); }, 5s));
  EXPECT_TRUE(world.run_until([&] { return world.one_view(); }, 5s));
  EXPECT_LT(world.node(0).membership().find(world.id(3))->incarnation.value, 1000u);
  world.kill(3);
  EXPECT_TRUE(world.run_until([&] { return world.one_view(); }, 5s)) << "a true death is still believed";
}

TEST(Hostile, false_digests_cost_rounds_and_nothing_else) {
  World world(fleet_of(8, 8));
  ASSERT_TRUE(settle(world));
  for (std::uint64_t round = 0; round < 200; ++round, world.run(20ms)) {
    const wire::StateVector lie{{round, round * 7}, now_ms(world, 0), true, false, {}};
    for (std::size_t to = 0; to < 8; ++to) world.inject(5, to, wire::frame(MessageType::kStateVector, lie));
    if (round % 10 == 0) write(world, round / 10 % 4, "a/" + std::to_string(round), "true");
  }
  EXPECT_TRUE(world.run_until([&] { return world.one_state() && read(world, 7, "a/190") == "true"; }, 10s));
}

TEST(Hostile, naming_anothers_removes_as_replaced_brings_nothing_back) {
  World world(fleet_of(5, 9));
  ASSERT_TRUE(settle(world));
  const auto change = [&](bool add) {
    world.act(0, [&](node::Node& node, Instant now) {
      const Buffer mine = to_buffer(as_bytes("mine"));
      auto ticket = add ? node.state().insert("danger", mine, now) : node.state().remove("danger", mine, now);
      node.when_durable(std::move(ticket), [](const Status& status) { EXPECT_TRUE(status); });
    });
    world.run(1s);
  };
  change(true);
  change(false);
  // Of another element, and of dots that are still to come.
  crdt::Op lie = op_of(world, 4, 1'000'000, now_ms(world, 4), "danger");
  lie.kind = crdt::OpKind::kInsert;
  lie.value = to_buffer(as_bytes("other"));
  lie.replaces = {{world.id(0), {1}, {1'000'000}}};
  crdt::Op remove = lie;
  remove.dot.sequence = {1'000'001};
  remove.kind = crdt::OpKind::kRemove;
  remove.value = to_buffer(as_bytes("mine"));
  for (std::size_t to = 0; to < 4; ++to) world.inject(4, to, ops_frame(world, {lie, remove}, 4));
  world.run(1s);
  const auto held = [&](std::size_t i) { return world.node(i).state().replica().read("danger")->values; };
  EXPECT_EQ(held(1), std::vector<Buffer>{to_buffer(as_bytes("other"))}) << "the removed one stays removed";
  change(true);
  EXPECT_EQ(held(2).size(), 2u) << "a later write lives, whatever was said before of its number";
}

TEST(Hostile, stamps_from_the_future_wait_apart_and_pull_nobody_along) {
  World world(fleet_of(5, 10));
  ASSERT_TRUE(settle(world));
  world.run(3s);
  const std::uint64_t ms = now_ms(world, 1);
  for (std::uint64_t i = 0; i < 60; ++i) {
    std::vector<crdt::Op> ops;
    for (std::uint64_t k = 0; k < 50; ++k) ops.push_back(op_of(world, 4, 1'000'000 + i * 50 + k, ms + 3'600'000, "p"));
    for (std::size_t to = 0; to < 4; ++to) world.inject(4, to, ops_frame(world, ops, 4));
  }
  for (std::uint64_t i = 0; i < 50; ++i) {
    const wire::StateVector lie{{1, i}, ms + 3'600'000, true, false, {}};
    for (std::size_t to = 0; to < 4; ++to) world.inject(4, to, wire::frame(MessageType::kStateVector, lie));
    world.run(20ms);
  }
  EXPECT_EQ(read(world, 1, "p"), "");
  EXPECT_LE(world.node(1).state().stats().in_quarantine, 1024u);
  EXPECT_GT(world.node(1).state().stats().in_quarantine, 0u);
  EXPECT_LT(now_ms(world, 1), ms + 10'000);
  write(world, 2, "p", "true");
  EXPECT_TRUE(world.run_until([&] { return read(world, 1, "p") == "true"; }, 3s));
}

TEST(Hostile, what_a_revoked_member_wrote_in_a_partition_is_withdrawn_and_what_it_hid_comes_back) {
  World world(fleet_of(6, 11));
  ASSERT_TRUE(settle(world));
  write(world, 4, "early", "kept");
  write(world, 0, "shared", "honest");
  ASSERT_TRUE(world.run_until([&] { return world.one_state() && read(world, 5, "shared") == "honest"; }, 3s));
  trust::Cut cut{{1}, {0}};
  for (const auto& [dot, op] : world.node(0).state().replica().living()) {
    if (dot.origin == world.id(4)) cut = std::max(cut, trust::Cut{dot.epoch, dot.sequence});
  }
  world.partition({4, 5});
  world.run(4s);
  world.act(0, [&](node::Node& node, Instant now) {
    node.when_durable(
        node.state().insert(std::string(trust::kRevocationPath) + world.id(4).hex(), world.revocation(4, cut), now),
        [](const Status& status) { EXPECT_TRUE(status); });
  });
  write(world, 4, "late", "lie");
  write(world, 4, "shared", "lie");
  ASSERT_TRUE(
      world.run_until([&] { return read(world, 5, "shared") == "lie" && read(world, 5, "late") == "lie"; }, 5s));
  world.heal();
  const auto agreed = [&] {
    for (const std::size_t i : {0u, 1u, 2u, 3u, 5u}) {
      if (!read(world, i, "late").empty() || read(world, i, "shared") != "honest") return false;
    }
    return true;
  };
  EXPECT_TRUE(world.run_until(agreed, 60s)) << read(world, 5, "late") << read(world, 5, "shared");
  for (const std::size_t i : {0u, 1u, 2u, 3u, 5u}) {
    EXPECT_EQ(read(world, i, "early"), "kept") << "what it wrote before stays";
    EXPECT_FALSE(world.node(i).membership().linked(world.id(4)));
  }
}

// A counter's totals are its writer's own word, so that one lie is as large as it likes, while its writer is believed.
TEST(Hostile, a_forged_count_goes_with_who_forged_it_and_what_others_counted_stays) {
  World world(fleet_of(6, 14));
  ASSERT_TRUE(settle(world));
  const auto count = [&](std::size_t i, std::int64_t change) {
    world.act(i, [&](node::Node& node, Instant now) {
      node.when_durable(node.state().add("sheep", change, now), [](const Status& status) { EXPECT_TRUE(status); });
    });
  };
  const auto all_read = [&](std::int64_t total) {
    return std::ranges::all_of(std::views::iota(0u, 6u), [&](std::size_t i) {
      const auto value = world.node(i).state().replica().read("sheep");
      return i == 4 || (value && value->total == total);
    });
  };
  count(0, 5);
  count(5, -2);
  ASSERT_TRUE(world.run_until([&] { return all_read(3); }, 5s));
  crdt::Op lie = op_of(world, 4, 1'000'000, now_ms(world, 4), "sheep");
  lie.kind = crdt::OpKind::kCounter;
  lie.value.reset();
  lie.plus = ~std::uint64_t{0};
  for (const std::size_t to : {0u, 1u, 2u, 3u, 5u}) world.inject(4, to, ops_frame(world, {lie}, 4));
  ASSERT_TRUE(world.run_until([&] { return all_read(std::numeric_limits<std::int64_t>::max()); }, 5s));
  count(1, 4);  // counted on meanwhile
  world.run(1s);
  world.act(0, [&](node::Node& node, Instant now) {
    node.when_durable(node.state().insert(std::string(trust::kRevocationPath) + world.id(4).hex(),
                                          world.revocation(4, trust::Cut{{1}, {0}}), now),
                      [](const Status& status) { EXPECT_TRUE(status); });
  });
  EXPECT_TRUE(world.run_until([&] { return all_read(7); }, 10s))
      << world.node(1).state().replica().read("sheep")->total;
}

TEST(Hostile, a_node_whose_links_all_lead_to_liars_believes_nothing_and_catches_up_when_one_is_honest) {
  World world(fleet_of(8, 12));
  ASSERT_TRUE(settle(world));
  Ears ears(world, "orders");
  for (std::size_t i = 0; i < 7; ++i) {
    if (i == 1 || i == 2) continue;
    world.cut(i, 7);
    world.cut(7, i);
  }
  for (const std::size_t liar : {1u, 2u}) {  // they keep their links to it, and pass nothing on
    world.tamper(liar, [](std::size_t to, const env::Send& send) {
      return to != 7 || send.frame.empty() || send.frame[0] < 16;
    });
  }
  world.run(5s);
  write(world, 0, "news", "true");
  for (std::uint64_t i = 1; i <= 40; ++i) {
    for (const std::size_t liar : {1u, 2u}) {
      world.inject(liar, 7, batch_frame(world, 0, liar, 1000 + i, Buffer(20, 7)));
      world.inject(liar, 7, ops_frame(world, {op_of(world, 0, 1000 + i, 1, "news")}, liar));
    }
    world.run(100ms);
  }
  EXPECT_TRUE(ears.heard[7].empty());
  EXPECT_EQ(read(world, 7, "news"), "");
  world.heal();
  EXPECT_TRUE(world.run_until([&] { return read(world, 7, "news") == "true"; }, 30s));
  publish(world, 0, "orders", "hold");
  EXPECT_TRUE(world.run_until([&] { return ears.heard[7].size() == 1; }, 5s));
}

TEST(Hostile, frames_of_any_bytes_end_the_link_they_came_by_and_nothing_else) {
  World world(fleet_of(5, 13));
  ASSERT_TRUE(settle(world));
  Prng prng(1);
  for (int i = 0; i < 3000; ++i) {
    Buffer frame(prng.below(i % 100 == 0 ? 300'000 : 200));
    for (auto& byte : frame) byte = static_cast<std::uint8_t>(prng.next());
    if (!frame.empty() && i % 2 == 0) frame[0] = static_cast<std::uint8_t>(prng.below(80));
    world.inject(4, 1, std::move(frame));
    if (i % 50 == 0) world.run(10ms);
  }
  world.run(2s);
  EXPECT_EQ(world.node(1).stats().peers_shunned, 1u);
  write(world, 0, "after", "it");
  EXPECT_TRUE(world.run_until([&] { return read(world, 1, "after") == "it" && read(world, 4, "after") == "it"; }, 3s));
  EXPECT_TRUE(world.deaths().empty());
  EXPECT_TRUE(world.run_until([&] { return world.node(1).membership().linked(world.id(4)); }, 100s)) << "let back";
}

TEST(Hostile, a_server_that_floods_its_owner_with_tokens_is_left_for_another) {
  WorldOptions options = fleet_of(3, 15);
  options.models = {{"sim", 4000, 100, 80}};
  options.models_from = 1;
  World world(options);
  ASSERT_TRUE(settle(world));
  world.run(3s);
  std::optional<node::TaskResult> result;
  std::size_t heard = 0;
  TaskId id;
  world.act(0, [&](node::Node& node, Instant now) {
    node::TaskRequest request;
    request.spec.model = "sim";
    request.spec.tokens_max = 60;
    node::RunOptions callbacks;
    callbacks.on_tokens = [&](std::span<const env::Token> more) { heard += more.size(); };
    callbacks.on_result = [&](const node::TaskResult& end) { result = end; };
    id = node.run(std::move(request), std::move(callbacks), now);
  });
  ASSERT_TRUE(world.run_until([&] { return heard >= 20; }, 5s));
  const NodeId liar = world.node(0).owner().server_of(id);
  const wire::TaskTokens flood{
      .task = id, .attempt = 1, .first = static_cast<std::uint32_t>(heard), .tokens = std::vector<env::Token>(300'000)};
  world.inject(*world.index_of(liar), 0, wire::frame(MessageType::kTaskTokens, flood));
  ASSERT_TRUE(world.run_until([&] { return result.has_value(); }, 10s));
  EXPECT_EQ(result->outcome, node::Outcome::kAnswered);
  EXPECT_EQ(heard, 60u);
  EXPECT_EQ(result->attempts, 2u);
  EXPECT_NE(result->served_by, liar);
}

TEST(Hostile, beacons_of_strangers_are_noise_and_of_members_a_few_dials) {
  WorldOptions options = fleet_of(4, 14);
  options.multicast = true;
  World world(options);
  ASSERT_TRUE(settle(world));
  const std::uint64_t before = world.counts().dials;
  const auto beacons = [&](const trust::FleetSecret& secret) {
    for (std::uint16_t i = 0; i < 500; ++i) {
      const trust::Beacon beacon{NodeId{{9}}, static_cast<std::uint16_t>(8000 + i), {1}};
      const Buffer sealed = trust::seal_beacon(secret, beacon, i);
      world.act(1, [&](node::Node& node, Instant now) {
        node.on_beacon(env::Endpoint::v4(10, 9, 9, static_cast<std::uint8_t>(i), 7337), sealed, now);
      });
    }
    world.run(1s);
  };
  beacons({1, 2, 3});
  EXPECT_EQ(world.counts().dials, before);
  beacons({});  // the secret of these worlds
  EXPECT_LE(world.counts().dials, before + 10);
}

}  // namespace
}  // namespace sedge::sim
