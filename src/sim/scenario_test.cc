#include "sim/scenario.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

TEST(Scenario, the_story_ends_well_on_a_lossy_radio) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    ScenarioOptions options;
    options.nodes = 12;
    options.seed = seed;
    options.length = 40s;
    options.link.loss = 0.05;
    const auto report = play(options);
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->good()) << json::write(to_json(options, *report));
    EXPECT_GT(report->writes_acknowledged, 50u);
    EXPECT_GT(report->deliveries, report->messages * 8);
  }
}

TEST(Scenario, the_same_options_give_the_same_trace) {
  ScenarioOptions options;
  options.nodes = 5;
  options.length = 20s;
  options.link.loss = 0.1;
  const auto first = play(options), second = play(options);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->trace, second->trace);
  options.seed = 2;
  EXPECT_NE(play(options)->trace, first->trace);
}

TEST(Scenario, options_out_of_range_are_named) {
  EXPECT_EQ(play({.nodes = 1}).error().message, "--nodes 1: a simulated fleet has 2 to 500 nodes");
  EXPECT_FALSE(play({.length = 5s}));
  ScenarioOptions lossy;
  lossy.link.loss = 0.9;
  EXPECT_FALSE(play(lossy));
}

}  // namespace
}  // namespace sedge::sim
