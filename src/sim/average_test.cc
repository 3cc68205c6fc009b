// Averaging on whole nodes: an overlay in which most have no link to each other, loss,
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

}  // namespace
}  // namespace sedge::sim
