// Causal messages between publishers whose batches take any way and any time.
#include "mesh/causal.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/prng.h"
#include "mesh/pubsub.h"
#include "mesh/test_world.h"

namespace sedge::mesh {
namespace {

// PubSubs of one fleet. Who publishes, and when, is drawn; a batch reaches each other node after a time of its own, or
// never. The payload of a message is its number, and what its publisher had heard by then is remembered beside it.
struct Swarm {
  Swarm(std::size_t count, std::uint64_t seed, double loss_)
      : fleet(count), directory(fleet.directory()), prng(seed), loss(loss_), heard(count), order(count) {
    for (const auto& one : fleet.nodes) SEDGE_ASSERT(directory.add(one.encoded).has_value());
    for (std::size_t i = 0; i < count; ++i) {
      nodes.push_back(std::make_unique<PubSub>(fleet.nodes[i].id, directory, CausalOptions{.epoch = {1}}));
      nodes[i]->set_batch_interval(Duration::zero());
      SEDGE_ASSERT(nodes[i]->subscribe("t", [this, i](const Message& m) { on_message(i, m); }).has_value());
    }
  }
  void on_message(std::size_t i, const Message& message) {
    const std::size_t number = std::stoul(std::string(as_text(message.payload)));
    EXPECT_TRUE(heard[i].insert(number).second) << "twice";
    order[i].push_back(number);
    if (number == causes.size()) return;  // our own, which is being published
    for (const std::size_t cause : causes[number]) early += heard[i].contains(cause) ? 0 : 1;
  }
  void publish(std::size_t i) {
    const std::set<std::size_t> before = heard[i];
    const std::string number = std::to_string(causes.size());
    ASSERT_TRUE(nodes[i]->publish("t", as_bytes(number), {.causal = true}, now));
    causes.push_back(before);
    for (const OutgoingBatch& batch : nodes[i]->take_outgoing()) {
      for (std::size_t j = 0; j < nodes.size(); ++j) {
        if (j == i) continue;
        if (prng.chance(loss)) {
          ++lost;
          continue;
        }
        air.emplace(now + Duration(1ms) * (1 + prng.below(prng.chance(0.2) ? 2000 : 50)), Flight{i, j, batch.payload});
      }
    }
  }
  void run(Duration time) {
    const Instant end = now + time;
    for (;;) {
      Instant next = air.empty() ? kNever : air.begin()->first;
      for (const auto& node : nodes) next = std::min(next, std::max(now, node->next_deadline()));
      if (next > end) break;
      now = next;
      while (!air.empty() && air.begin()->first <= now) {
        const Flight flight = std::move(air.extract(air.begin()).mapped());
        EXPECT_TRUE(nodes[flight.to]->on_broadcast(fleet.nodes[flight.from].id, flight.payload, now));
      }
      for (const auto& node : nodes) {
        if (node->next_deadline() <= now) node->on_timer(now);
      }
    }
    now = end;
  }
  std::uint64_t given_up() const {
    std::uint64_t sum = 0;
    for (const auto& node : nodes) sum += node->causal().stats().given_up;
    return sum;
  }
  std::uint64_t held() const {
    std::uint64_t sum = 0;
    for (const auto& node : nodes) sum += node->causal().stats().held;
    return sum;
  }

  struct Flight {
    std::size_t from, to;
    Buffer payload;
  };
  test::Fleet fleet;
  trust::Directory directory;
  Prng prng;
  double loss;
  Instant now = Instant{} + 1000s;
  std::vector<std::unique_ptr<PubSub>> nodes;
  std::multimap<Instant, Flight> air;
  std::vector<std::set<std::size_t>> causes;  // of each message: all that its publisher had heard
  std::vector<std::set<std::size_t>> heard;
  std::vector<std::vector<std::size_t>> order;
  std::size_t early = 0, lost = 0;
};

RC_GTEST_PROP(Causal, nothing_is_heard_before_what_its_publisher_had_heard, ()) {
  Swarm swarm(*rc::gen::inRange<std::size_t>(2, 6), *rc::gen::arbitrary<std::uint64_t>(), 0);
  const int messages = *rc::gen::inRange(1, 80);
  for (int k = 0; k < messages; ++k) {
    swarm.publish(swarm.prng.below(swarm.nodes.size()));
    swarm.run(Duration(1ms) * swarm.prng.below(60));
  }
  swarm.run(3s);
  RC_ASSERT(swarm.early == 0u);
  RC_ASSERT(swarm.given_up() == 0u);
  for (const auto& heard : swarm.heard) RC_ASSERT(heard.size() == static_cast<std::size_t>(messages));
}

RC_GTEST_PROP(Causal, what_is_lost_is_waited_for_a_bounded_time_and_everything_else_is_heard, ()) {
  Swarm swarm(4, *rc::gen::arbitrary<std::uint64_t>(), 0.1);
  for (int k = 0; k < 60; ++k) {
    swarm.publish(swarm.prng.below(4));
    swarm.run(Duration(1ms) * swarm.prng.below(100));
  }
  swarm.run(12s);
  std::size_t heard = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    heard += swarm.heard[i].size();
    RC_ASSERT(swarm.nodes[i]->causal().holding() == 0u);
  }
  RC_ASSERT(heard == 60u * 4 - swarm.lost);
  RC_ASSERT((swarm.early == 0) == (swarm.given_up() == 0));
}

NodeId id(std::uint8_t n) {
  NodeId node;
  node.bytes.fill(n);
  return node;
}

TEST(Causal, an_answer_waits_for_its_question_and_no_longer_than_five_seconds) {
  Swarm swarm(3, 1, 0);
  swarm.publish(0);
  const auto question = swarm.air;  // to 1 and to 2
  swarm.air.clear();
  for (const auto& [at, flight] : question) {
    if (flight.to == 1) swarm.air.emplace(at, flight);
  }
  swarm.run(100ms);
  swarm.publish(1);
  swarm.run(4s);
  EXPECT_TRUE(swarm.heard[2].empty()) << "the question is on its way";
  EXPECT_EQ(swarm.nodes[2]->causal().holding(), 1u);
  swarm.run(2s);
  EXPECT_EQ(swarm.heard[2], std::set<std::size_t>{1});
  EXPECT_EQ(swarm.nodes[2]->causal().stats().given_up, 1u);
  swarm.publish(1);
  swarm.run(2s);
  EXPECT_EQ(swarm.heard[2], (std::set<std::size_t>{1, 2})) << "what was given up once is not waited for again";
}

TEST(Causal, what_was_published_before_a_node_started_is_not_waited_for) {
  Swarm swarm(3, 2, 0);
  for (std::size_t k = 0; k < 3; ++k) swarm.publish(k % 2);
  swarm.air.clear();
  swarm.run(500ms);
  swarm.nodes[2]->start(swarm.now);
  swarm.run(1ms);
  swarm.publish(0);
  std::vector<Swarm::Flight> flights;
  for (auto& [at, flight] : std::exchange(swarm.air, {})) flights.push_back(std::move(flight));
  for (Swarm::Flight& flight : flights) swarm.air.emplace(swarm.now + 10ms, std::move(flight));
  swarm.run(20ms);
  EXPECT_EQ(swarm.heard[2], std::set<std::size_t>{3});
  EXPECT_EQ(swarm.given_up(), 0u);
}

TEST(Causal, a_context_names_what_was_heard_since_the_one_before) {
  CausalOrder order({.epoch = {7}, .causes_max = 2});
  order.heard(id(1), {.epoch = {1}, .sequence = 4, .causes = {}}, Instant{} + 1s);
  order.heard(id(1), {.epoch = {1}, .sequence = 3, .causes = {}}, Instant{} + 2s);
  const auto first = order.stamp(Instant{} + 3s);
  EXPECT_EQ(first.sequence, 1u);
  ASSERT_EQ(first.causes.size(), 1u);
  EXPECT_EQ(first.causes[0], (wire::CausalName{id(1), {1}, 4, 2000}));
  const auto second = order.stamp(Instant{} + 4s);
  EXPECT_TRUE(second.causes.empty());
  EXPECT_EQ(second.previous_age_ms, 1000u);
  for (std::uint8_t n = 1; n <= 3; ++n) {
    order.heard(id(n), {.epoch = {1}, .sequence = 9, .causes = {}}, Instant{} + 4s + Duration(1ms) * n);
  }
  const auto third = order.stamp(Instant{} + 5s);
  ASSERT_EQ(third.causes.size(), 2u) << "the one heard longest ago is left out";
  EXPECT_EQ(third.causes[0].origin, id(2));
  EXPECT_EQ(order.stats().unnamed, 1u);
}

TEST(Causal, who_lies_about_causes_holds_back_its_own_messages_for_a_bounded_time_and_in_bounded_room) {
  CausalOrder order({.epoch = {1}});
  order.start(Instant{});
  Instant now = Instant{} + 1000s;
  const wire::CausalContext none{.epoch = {1}, .sequence = 0, .causes = {}};
  EXPECT_FALSE(order.check(id(1), none));
  EXPECT_FALSE(order.check(id(1), {.epoch = {1}, .sequence = 1, .causes = {{id(1), {1}, 1, 0}}}));
  EXPECT_FALSE(order.check(id(1), {.epoch = {1}, .sequence = 1, .causes = std::vector<wire::CausalName>(129)}));
  std::size_t out = 0;
  for (std::uint64_t k = 1; k <= 2000; ++k) {
    const wire::CausalContext context{
        .epoch = {1}, .sequence = 2 * k + 1, .causes = {{id(2), {1}, k, 0}, {id(3), {9}, 9, 0}}};
    ASSERT_TRUE(order.check(id(1), context));
    ASSERT_FALSE(order.admit(id(1), context, now));
    order.hold({.origin = id(1), .context = context, .topic = "t", .payload = {}, .once = {}, .expires_ms = {}}, now);
    while (order.take_ready(now)) ++out;
    ASSERT_LE(order.holding(), 256u);
  }
  const wire::CausalContext honest{.epoch = {1}, .sequence = 1, .causes = {}};
  EXPECT_TRUE(order.admit(id(4), honest, now));
  now += 10s;
  while (order.take_ready(now)) ++out;
  EXPECT_EQ(out, 2000u);
  // A circle: each waits for the other.
  const wire::CausalContext a{.epoch = {1}, .sequence = 1, .causes = {{id(6), {1}, 1, 0}}};
  const wire::CausalContext b{.epoch = {1}, .sequence = 1, .causes = {{id(5), {1}, 1, 0}}};
  order.hold({.origin = id(5), .context = a, .topic = "t", .payload = {}, .once = {}, .expires_ms = {}}, now);
  order.hold({.origin = id(6), .context = b, .topic = "t", .payload = {}, .once = {}, .expires_ms = {}}, now);
  EXPECT_FALSE(order.take_ready(now + 9s));
  EXPECT_TRUE(order.take_ready(now + 10s));
  EXPECT_TRUE(order.take_ready(now + 10s));
  EXPECT_EQ(order.holding(), 0u);
}

TEST(Causal, an_origin_with_large_messages_takes_the_room_of_nobody_else) {
  CausalOrder order({.epoch = {1}});
  order.start(Instant{});
  const Instant now = Instant{} + 1000s;
  const auto hold = [&](NodeId origin, std::uint64_t sequence, std::size_t bytes) {
    const wire::CausalContext context{.epoch = {1}, .sequence = sequence, .causes = {}};
    order.hold(
        {.origin = origin, .context = context, .topic = "t", .payload = Buffer(bytes), .once = {}, .expires_ms = {}},
        now);
  };
  hold(id(2), 2, 100);
  std::size_t given_up = 0;
  for (std::uint64_t k = 1; k <= 200; ++k) {
    hold(id(1), 2 * k, 60'000);
    while (const auto ready = order.take_ready(now)) {
      EXPECT_EQ(ready->origin, id(1));
      ++given_up;
    }
  }
  EXPECT_GE(given_up, 200u - (1u << 20) / 60'000);
  EXPECT_GE(order.holding(), 16u);
}

TEST(Causal, a_best_effort_message_is_never_causal) {
  Swarm swarm(2, 3, 0);
  const Status refused = swarm.nodes[0]->publish("t", as_bytes("0"), {.reliable = false, .causal = true}, swarm.now);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sedge::mesh
