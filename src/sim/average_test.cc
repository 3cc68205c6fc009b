// Averaging, causal and private messages on whole nodes: an overlay in which most have no link to each other, loss,
// crashes.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/world.h"

namespace sedge::sim {
namespace {

WorldOptions fleet_of(std::size_t nodes, std::uint64_t seed) {
  WorldOptions options;
  options.nodes = nodes;
  options.seed = seed;
  options.link.loss = 0.05;
  options.link.latency = 5ms;
  options.link.jitter = 5ms;
  return options;
}

struct Averaged {
  explicit Averaged(World& world_) : world(world_), results(world_.size()) {}
  void ask(std::size_t i, double value, Duration window) {
    world.act(i, [&](node::Node& node, Instant now) {
      node.average("field/moisture", value, window, [this, i](const auto& result) { results[i] = result; }, now);
    });
  }
  World& world;
  std::vector<std::optional<Result<consensus::Average>>> results;
};

TEST(Average, a_fleet_of_thirty_agrees_on_its_mean_though_some_lose_power_on_the_way) {
  World world(fleet_of(30, 3));
  ASSERT_TRUE(world.boot_all());
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 60s));
  Averaged averaged(world);
  for (std::size_t i = 0; i < 30; i += 2) averaged.ask(i, static_cast<double>(i), 20s);
  world.run(5s);
  world.cut_power(28);
  world.kill(7);
  const auto told = [&] {
    for (std::size_t i = 0; i < 28; i += 2) {
      if (!averaged.results[i]) return false;
    }
    return true;
  };
  ASSERT_TRUE(world.run_until(told, 70s));
  for (std::size_t i = 0; i < 28; i += 2) {
    const auto& result = *averaged.results[i];
    ASSERT_TRUE(result) << i << ": " << result.error().message;
    EXPECT_NEAR(result->mean, 13, 0.01) << i;
    EXPECT_EQ(result->count, 14u) << i;
  }
  EXPECT_EQ(world.node(0).stats().frames_refused, 0u);
}

TEST(Average, a_node_that_may_not_publish_on_the_name_takes_no_part) {
  World world(fleet_of(3, 4));
  ASSERT_TRUE(world.boot_all());
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 60s));
  std::optional<Result<consensus::Average>> result;
  world.act(0, [&](node::Node& node, Instant now) {
    node.average("field/#", 1, 5s, [&](const auto& given) { result = given; }, now);
  });
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code, Code::kInvalidArgument);
}

TEST(Causal, an_answer_is_never_heard_before_its_question_in_a_fleet_that_loses_and_reorders) {
  WorldOptions options = fleet_of(20, 5);
  options.link.plane = 60ms;
  World world(options);
  ASSERT_TRUE(world.boot_all());
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 60s));
  std::vector<std::set<std::string>> heard(20);
  std::size_t early = 0;
  std::vector<std::string> owed;  // answers of node 7
  const auto publish = [](node::Node& node, std::string_view topic, const std::string& text, Instant now) {
    node.publish(topic, as_bytes(text), {.causal = true}, 0, [](const Status& status) { EXPECT_TRUE(status); }, now);
  };
  for (std::size_t i = 0; i < 20; ++i) {
    world.act(i, [&, i](node::Node& node, Instant now) {
      const auto on_message = [&, i](const mesh::Message& message) {
        const std::string text(as_text(message.payload));
        heard[i].insert(text);
        if (text[0] == 'a' && !heard[i].contains("q" + text.substr(1))) ++early;
        if (text[0] == 'q' && i == 7) owed.push_back("a" + text.substr(1));
      };
      ASSERT_TRUE(node.subscribe("#", on_message, {}, now));
    });
  }
  for (int k = 0; k < 60; ++k) {
    world.act(3, [&](node::Node& node, Instant now) { publish(node, "questions", "q" + std::to_string(k), now); });
    for (int step = 0; step < 25; ++step) {
      world.run(2ms);
      world.act(7, [&](node::Node& node, Instant now) {
        for (const std::string& answer : std::exchange(owed, {})) publish(node, "answers", answer, now);
      });
    }
  }
  world.run(1s);
  world.act(7, [&](node::Node& node, Instant now) {
    for (const std::string& answer : std::exchange(owed, {})) publish(node, "answers", answer, now);
  });
  const auto all = [&] { return std::ranges::all_of(heard, [](const auto& each) { return each.size() == 120; }); };
  EXPECT_TRUE(world.run_until(all, 20s));
  std::uint64_t held = 0, given_up = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    held += world.node(i).pubsub().causal().stats().held;
    given_up += world.node(i).pubsub().causal().stats().given_up;
  }
  EXPECT_EQ(given_up, 0u);
  EXPECT_EQ(early, 0u);
  EXPECT_GT(held, 0u) << "nothing was ever put in order: this test shows nothing";
}

TEST(Private, a_power_cut_gives_nothing_of_the_budget_back) {
  World world(fleet_of(2, 6));
  ASSERT_TRUE(world.boot_all());
  ASSERT_TRUE(world.run_until([&] { return world.one_view(); }, 60s));
  std::size_t heard = 0;
  world.act(1, [&](node::Node& node, Instant now) {
    ASSERT_TRUE(node.subscribe("soil", [&](const mesh::Message&) { ++heard; }, {}, now));
  });
  std::size_t taken = 0;
  std::optional<Code> refusal;
  for (std::size_t k = 0; k < 40; ++k) {
    world.act(0, [&](node::Node& node, Instant now) {
      const auto done = [&](const Status& status) {
        taken += status ? 1 : 0;
        if (!status) refusal = status.error().code;
      };
      node.publish_private("soil", as_bytes("30"), {.epsilon = 0.5, .low = 0, .high = 100}, {}, 0, done, now);
    });
    world.run(k % 4 == 3 ? 1ms : 20ms);  // within the commit, or after it
    if (k % 4 != 3) continue;
    world.cut_power(0);
    world.run(500ms);
    ASSERT_TRUE(world.boot(0));
    world.run(3s);
  }
  EXPECT_EQ(refusal, Code::kResourceExhausted);
  EXPECT_LE(heard, 20u) << "half an epsilon each, of ten";
  EXPECT_LE(taken, 20u);
  EXPECT_GE(taken, 10u);
  const auto rows = world.node(0).privacy().rows();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].left, 0);
}

}  // namespace
}  // namespace sedge::sim
