#include "mesh/pubsub.h"

#include <gtest/gtest.h>

#include "mesh/broadcast.h"
#include "mesh/test_world.h"

namespace sedge::mesh {
namespace {

// Two nodes of one fleet whose batches are carried by hand.
struct Two {
  test::Fleet fleet;
  trust::Directory directory;
  PubSub a, b;
  explicit Two(const trust::Grants& grants = trust::Grants::of_a_node())
      : fleet(2, grants),
        directory(fleet.directory()),
        a(fleet.nodes[0].id, directory),
        b(fleet.nodes[1].id, directory) {
    for (const auto& one : fleet.nodes) SEDGE_ASSERT(directory.add(one.encoded).has_value());
  }
  std::size_t carry(Instant now) {
    a.on_timer(now);
    const auto batches = a.take_outgoing();
    for (const OutgoingBatch& batch : batches) EXPECT_TRUE(b.on_broadcast(fleet.nodes[0].id, batch.payload, now));
    return batches.size();
  }
};

TEST(PubSub, a_message_reaches_those_whose_filter_matches_here_and_there) {
  Two two;
  std::vector<std::string> here, there;
  ASSERT_TRUE(two.a.subscribe("robot/+/pose", [&](const Message& m) { here.emplace_back(m.topic); }));
  ASSERT_TRUE(two.b.subscribe("robot/#", [&](const Message& m) { there.emplace_back(m.topic); }));
  for (const char* topic : {"robot/1/pose", "robot/1/battery", "map"}) {
    ASSERT_TRUE(two.a.publish(topic, as_bytes("x"), {}, Instant{}));
  }
  EXPECT_EQ(here, std::vector<std::string>{"robot/1/pose"});
  EXPECT_EQ(two.carry(Instant{} + 1ms), 1u);
  EXPECT_EQ(there, (std::vector<std::string>{"robot/1/pose", "robot/1/battery"}));
}

TEST(PubSub, a_message_on_its_own_leaves_at_once_and_others_a_millisecond_after_it_or_when_full) {
  Two two;
  const Instant begin = Instant{} + 1s;
  ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, begin));
  EXPECT_EQ(two.a.next_deadline(), begin);
  two.a.on_timer(begin);
  EXPECT_EQ(two.a.take_outgoing().size(), 1u);
  EXPECT_EQ(two.a.next_deadline(), kNever);
  ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, begin + 100us));
  ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, begin + 900us));
  EXPECT_EQ(two.a.next_deadline(), begin + 1ms);
  two.a.on_timer(begin + 999us);
  EXPECT_TRUE(two.a.take_outgoing().empty());
  two.a.on_timer(begin + 1ms);
  EXPECT_EQ(two.a.take_outgoing().size(), 1u);
  const Buffer large(40'000);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(two.a.publish("a", large, {}, begin + 1ms));
  const auto full = two.a.take_outgoing();
  ASSERT_EQ(full.size(), 2u);
  for (const OutgoingBatch& batch : full) EXPECT_LE(batch.payload.size(), kBatchBytesMax);
}

TEST(PubSub, without_an_interval_what_one_turn_published_is_a_batch) {
  Two two;
  std::size_t there = 0;
  ASSERT_TRUE(two.b.subscribe("#", [&](const Message&) { ++there; }));
  two.a.set_batch_interval(Duration::zero());
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, Instant{}));
    ASSERT_TRUE(two.a.publish("b", as_bytes("x"), {}, Instant{}));
    const auto batches = two.a.take_outgoing();
    ASSERT_EQ(batches.size(), 1u);
    EXPECT_TRUE(two.b.on_broadcast(two.fleet.nodes[0].id, batches[0].payload, Instant{}));
  }
  EXPECT_EQ(there, 4u);
  EXPECT_EQ(two.a.next_deadline(), kNever);
}

TEST(PubSub, a_topic_is_judged_anew_when_subscriptions_change) {
  Two two;
  std::vector<int> got;
  const auto publish = [&] { ASSERT_TRUE(two.a.publish("a/b", as_bytes("x"), {}, Instant{})); };
  publish();
  const auto first = two.a.subscribe("a/+", [&](const Message&) { got.push_back(1); });
  publish();
  ASSERT_TRUE(two.a.subscribe("#", [&](const Message&) { got.push_back(2); }));
  publish();
  two.a.unsubscribe(*first);
  publish();
  EXPECT_EQ(got, (std::vector<int>{1, 1, 2, 2}));
}

TEST(PubSub, best_effort_batches_fit_one_datagram) {
  Two two;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(two.a.publish("a", Buffer(100), {false, env::Priority::kNormal}, Instant{}));
  two.a.on_timer(Instant{} + 1ms);
  for (const OutgoingBatch& batch : two.a.take_outgoing()) EXPECT_LE(batch.payload.size(), kBatchDatagramBytesMax);
}

TEST(PubSub, without_the_grant_nothing_is_published_or_received) {
  Two two(trust::Grants{{trust::Verb::kPub, "mine/#"}, {trust::Verb::kSub, "mine/open"}});
  std::size_t got = 0;
  ASSERT_TRUE(two.b.subscribe("#", [&](const Message&) { ++got; }));
  EXPECT_EQ(two.a.publish("yours/1", as_bytes("x"), {}, Instant{}).error().code, Code::kPermissionDenied);
  ASSERT_TRUE(two.a.publish("mine/secret", as_bytes("x"), {}, Instant{}));
  ASSERT_TRUE(two.a.publish("mine/open", as_bytes("x"), {}, Instant{}));
  two.carry(Instant{} + 1ms);
  EXPECT_EQ(got, 1u);
  const wire::Publications forbidden{{{"yours/1", {}, {}}, {"mine/open", {}, {}}}};
  EXPECT_EQ(two.b.on_broadcast(two.fleet.nodes[0].id, wire::encode(forbidden), Instant{}).error().code,
            Code::kPermissionDenied);
  EXPECT_EQ(got, 2u);  // the allowed one beside it came through
}

TEST(PubSub, what_is_published_again_with_its_id_is_heard_once_and_only_the_latest_ids_are_known) {
  Two two;
  std::vector<std::string> here, there;
  ASSERT_TRUE(two.a.subscribe("#", [&](const Message& m) { here.emplace_back(m.topic); }));
  ASSERT_TRUE(two.b.subscribe("#", [&](const Message& m) { there.emplace_back(m.topic); }));
  const auto publish = [&](PubSub& by, const char* topic, std::uint64_t id) {
    TaskId once;
    for (std::size_t i = 0; i < 8; ++i) once.bytes[i] = static_cast<std::uint8_t>(id >> (8 * i));
    ASSERT_TRUE(by.publish(topic, as_bytes("x"), {.once = once}, Instant{}));
  };
  publish(two.a, "one", 1);
  publish(two.a, "one", 1);
  publish(two.a, "two", 1);
  two.carry(Instant{} + 1ms);
  publish(two.b, "one", 1);  // another node says it again
  EXPECT_EQ(here, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(there, here);
  EXPECT_EQ(two.a.stats().repeated, 1u);
  for (std::uint64_t id = 2; id < 2 + kOnceMax; ++id) publish(two.b, "many", id);
  publish(two.b, "one", 1);
  EXPECT_EQ(there.size(), 2 + kOnceMax + 1);  // forgotten, so heard again
}

TEST(PubSub, a_callback_may_unsubscribe_itself_and_publish) {
  Two two;
  std::size_t got = 0;
  SubscriptionId id;
  id = two.a
           .subscribe("a",
                      [&](const Message&) {
                        ++got;
                        two.a.unsubscribe(id);
                        EXPECT_TRUE(two.a.publish("b", as_bytes("y"), {}, Instant{}));
                      })
           .value();
  ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, Instant{}));
  ASSERT_TRUE(two.a.publish("a", as_bytes("x"), {}, Instant{}));
  EXPECT_EQ(got, 1u);
}

TEST(PubSub, a_message_past_its_lifespan_is_dropped_by_a_settled_clock_only) {
  Two two;
  std::vector<std::string> got;
  ASSERT_TRUE(two.b.subscribe("#", [&](const Message& m) { got.emplace_back(m.topic); }));
  const auto ms = [](Instant now) { return static_cast<std::uint64_t>(now.time_since_epoch() / 1ms); };
  two.a.set_clock([&](Instant now) { return std::optional(ms(now)); });
  two.a.set_batch_interval(Duration::zero());
  bool settled = true;
  two.b.set_clock([&](Instant now) { return settled ? std::optional(ms(now)) : std::nullopt; });
  const Instant begin = Instant{} + 1s;
  PublishOptions brief;
  brief.lifespan = 100ms;
  const auto carry_at = [&](const char* topic, Instant arrival) {
    ASSERT_TRUE(two.a.publish(topic, as_bytes("x"), brief, begin));
    for (const auto& batch : two.a.take_outgoing()) {
      EXPECT_TRUE(two.b.on_broadcast(two.fleet.nodes[0].id, batch.payload, arrival));
    }
  };
  carry_at("fresh", begin + 100ms);
  carry_at("stale", begin + 101ms);
  settled = false;
  carry_at("who knows", begin + 1s);
  EXPECT_EQ(got, (std::vector<std::string>{"fresh", "who knows"}));
  EXPECT_EQ(two.b.stats().expired, 1u);
}

TEST(PubSub, silence_is_told_to_who_expects_and_to_who_promised) {
  Two two;
  std::vector<std::string> late;
  const auto tell = [&](const char* whose) {
    return [&late, whose](std::string_view topic) { late.push_back(std::string(whose) + ": " + std::string(topic)); };
  };
  const Instant begin = Instant{} + 1s;
  const auto nothing = [](const Message&) {};
  ASSERT_TRUE(two.b.subscribe("robot/+", nothing, {.deadline = 200ms, .on_late = tell("any")}, begin));
  ASSERT_TRUE(two.b.subscribe("robot/7", nothing, {.deadline = 300ms, .on_late = tell("seven")}, begin));
  const auto promise = two.a.promise("robot/8", 100ms, tell("promise"), begin);
  ASSERT_TRUE(promise);
  EXPECT_EQ(two.b.next_deadline(), begin + 300ms);  // of robot/+ nothing was heard yet
  EXPECT_EQ(two.a.next_deadline(), begin + 100ms);
  ASSERT_TRUE(two.a.publish("robot/8", as_bytes("x"), {}, begin + 90ms));
  two.carry(begin + 100ms);
  two.a.on_timer(begin + 189ms);
  two.b.on_timer(begin + 299ms);
  EXPECT_EQ(late, std::vector<std::string>{});
  two.a.on_timer(begin + 190ms);
  two.b.on_timer(begin + 300ms);
  EXPECT_EQ(late, (std::vector<std::string>{"promise: robot/8", "any: robot/8", "seven: robot/7"}));
  two.a.unsubscribe(*promise);
  EXPECT_EQ(two.a.next_deadline(), kNever);
  EXPECT_FALSE(two.b.subscribe("a", nothing, {.deadline = Duration::zero()}, begin));
  EXPECT_FALSE(two.a.promise("a/+", 100ms, tell("x"), begin));
}

TEST(PubSub, a_publisher_is_told_when_it_is_first_heard_and_when_it_is_gone) {
  Two two;
  std::vector<std::pair<NodeId, bool>> seen;
  SubscriptionId id;
  SubscribeOptions options;
  options.on_liveliness = [&](NodeId publisher, bool alive) {
    seen.emplace_back(publisher, alive);
    if (seen.size() == 3) two.b.unsubscribe(id);
  };
  std::size_t got = 0;
  id = two.b.subscribe("#", [&](const Message&) { ++got; }, options, Instant{}).value();
  const NodeId a = two.fleet.nodes[0].id;
  for (int i = 1; i <= 2; ++i) {
    ASSERT_TRUE(two.a.publish("t", as_bytes("x"), {}, Instant{} + i * 10ms));
    two.carry(Instant{} + i * 10ms + 1ms);
  }
  two.b.on_member_gone(a);
  two.b.on_member_gone(a);
  ASSERT_TRUE(two.a.publish("t", as_bytes("x"), {}, Instant{} + 50ms));
  two.carry(Instant{} + 51ms);
  EXPECT_EQ(seen, (std::vector<std::pair<NodeId, bool>>{{a, true}, {a, false}, {a, true}}));
  EXPECT_EQ(got, 2u);  // it unsubscribed itself before the third
}

TEST(PubSub, wrong_names_and_sizes_are_refused) {
  Two two;
  EXPECT_FALSE(two.a.publish("a/+", {}, {}, Instant{}));
  EXPECT_FALSE(two.a.publish("a", Buffer(kPayloadBytesMax + 1), {}, Instant{}));
  EXPECT_FALSE(two.a.subscribe("a/#/b", [](const Message&) {}));
  EXPECT_FALSE(two.b.on_broadcast(two.fleet.nodes[0].id, as_bytes("\xff\xff"), Instant{}));
}

}  // namespace
}  // namespace sedge::mesh
