#include "mesh/reconciler.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "wire/codec.h"
#include "wire/reconcile_messages.h"

namespace sedge::mesh {
namespace {

NodeId node(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}

void fill(crdt::Replica& replica, std::size_t count) {
  for (std::size_t i = 1; i <= count; ++i) {
    crdt::Op op;
    op.dot = {node(1), {1}, {i}};
    op.path = fmt::format("entry/{}", i);
    op.value = Buffer{1};
    Prng prng(i);
    for (auto& byte : op.signature.bytes) byte = static_cast<std::uint8_t>(prng.next());
    ASSERT_TRUE(replica.apply(op));
  }
}

Buffer sketch_of(std::uint8_t key) {
  return wire::encode(wire::StateSketch{{key}, 0, 0, std::vector<wire::SketchSymbol>(1)});
}

TEST(Reconciler, every_session_has_a_key_of_its_own) {
  crdt::Replica replica;
  Reconciler one(replica, {1}), other(replica, {2});
  const auto key = [](Reconciler& of) { return of.open(node(9), 1, {}).key; };
  const auto first = key(one);
  EXPECT_NE(first, key(one));
  EXPECT_NE(first, key(other));
}

TEST(Reconciler, a_peer_that_asks_too_much_is_not_answered_until_time_has_passed) {
  crdt::Replica replica;
  fill(replica, 1000);
  Reconciler reconciler(replica, {1}, {.work_max = 20'000, .work_a_round = 6'000});
  const auto asks = [&](std::uint8_t peer, std::uint8_t key) {
    return reconciler.on_message(node(peer), wire::MessageType::kStateSketch, sketch_of(key), {}).has_value();
  };
  int answered = 0;
  for (std::uint8_t key = 0; key < 100; ++key) answered += asks(2, key);
  EXPECT_EQ(answered, 3);
  EXPECT_TRUE(asks(3, 0));  // others are
  EXPECT_FALSE(asks(2, 200));
  reconciler.on_round({});
  EXPECT_TRUE(asks(2, 200));
}

TEST(Reconciler, sets_are_few_and_do_not_stay) {
  crdt::Replica replica;
  fill(replica, 100);
  Reconciler reconciler(replica, {1}, {.sessions_max = 4, .items_max = 350});
  Instant now{};
  for (std::uint8_t key = 0; key < 10; ++key) {
    ASSERT_TRUE(reconciler.on_message(node(2), wire::MessageType::kStateSketch, sketch_of(key), now += 1ms));
    EXPECT_LE(reconciler.sessions(), 3u);
  }
  reconciler.on_round(now + 1s);
  EXPECT_EQ(reconciler.sessions(), 3u);
  reconciler.on_round(now + 10s);
  EXPECT_EQ(reconciler.sessions(), 0u);
  static_cast<void>(reconciler.open(node(3), 1, now));
  reconciler.forget(node(3));
  EXPECT_EQ(reconciler.sessions(), 0u);
}

TEST(Reconciler, who_answers_needs_no_memory_of_the_session) {
  crdt::Replica here, there;
  fill(here, 30);
  fill(there, 20);
  Reconciler asking(here, {1}), answering(there, {2});
  const auto ask = [&](const wire::StateSketch& message) {
    const auto answer =
        answering.on_message(node(1), wire::MessageType::kStateSketch, wire::encode(message), {}).value();
    answering.forget(node(1));
    return answer.want.value();
  };
  const auto more = [&](const wire::StateWant& want) {
    const auto answer = asking.on_message(node(2), wire::MessageType::kStateWant, wire::encode(want), {}).value();
    return answer.sketch.value();
  };
  wire::StateWant want = ask(asking.open(node(2), 4, {}));  // too short
  EXPECT_EQ(want.first, 4u);
  want = ask(more(want));  // what it heard before is gone
  EXPECT_EQ(want.first, 0u);
  want = ask(more(want));
  EXPECT_EQ(want.symbols, 0u);
  EXPECT_EQ(want.ids.size(), 10u);
}

}  // namespace
}  // namespace sedge::mesh
