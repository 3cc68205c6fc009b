#include "sim/play.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

std::string told(const Scenario& scenario, const Report& report) { return json::write(to_json(scenario, report)); }

Report played(const Scenario& scenario) {
  auto report = play(scenario);
  EXPECT_TRUE(report) << report.error().message;
  return report ? *std::move(report) : Report{};
}

TEST(Play, the_story_ends_well_on_a_lossy_radio) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Scenario story = standard_story(12, seed, 40s).value();
    story.world.link.loss = 0.05;
    const Report report = played(story);
    EXPECT_TRUE(report.good()) << told(story, report);
    EXPECT_GT(report.metric("writes_acknowledged"), 50);
    EXPECT_EQ(report.metric("delivered_twice"), 0);
    EXPECT_GT(report.metric("delivered_fraction"), 0.5);  // a third of the fleet is cut off for a while
  }
}

TEST(Play, the_same_scenario_gives_the_same_trace_and_another_seed_another) {
  Scenario story = standard_story(5, 1, 20s).value();
  story.world.link = {.loss = 0.1, .duplicate = 0.05, .reorder = 0.1, .burst_loss = 0.8};
  story.world.clock_drift_ppm = 100;
  const std::uint64_t first = played(story).trace;
  EXPECT_EQ(played(story).trace, first);
  story.seed = 2;
  EXPECT_NE(played(story).trace, first);
}

// On every machine, and with every compiler: whoever is handed a seed sees the same run. The number is another one
// whenever the protocol says something else or at another time: then write down the new one, if g++ and clang++ agree
// on it. Where they do not, something has come in that decides by itself: the order of an unordered container, a
// library's idea of a logarithm, the order in which arguments are computed. No power fails here: what is left of a file
// is SQLite's matter (docs/formats/scenario.md).
TEST(Play, the_trace_is_the_same_on_every_machine) {
  const auto scenario = parse_scenario(R"(
    [fleet]
    nodes = 8
    seed = 7
    length_s = 10
    collect_every_s = 2
    overlay = "nearest:3"
    zones = 2
    clock_drift_ppm = 80
    [link]
    latency_ms = 5
    jitter_ms = 20
    plane_ms = 30
    loss = 0.05
    duplicate = 0.02
    reorder = 0.1
    burst_loss = 0.6
    burst_every_ms = 3000
    [mobility]
    range_m = 900
    speed_mps = 30
    pause_s = 1
    [[load]]
    do = "write"
    each = true
    [[load]]
    do = "ephemeral"
    every_ms = 400
    [[load]]
    do = "broadcast"
    every_ms = 100
    [[load]]
    do = "telemetry"
    every_ms = 100
    [[event]]
    at_s = 2
    do = "kill"
    [[event]]
    at_s = 4
    do = "stall"
    for_ms = 900
    [[event]]
    at_s = 5
    do = "partition"
    share = 0.3
    [[event]]
    at_s = 7
    do = "heal"
    [[event]]
    at_s = 8
    do = "boot"
  )",
                                       "golden");
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(fmt::format("{:016x}", played(*scenario).trace), "6878a5c7303a04ca");
}

TEST(Play, what_is_expected_and_does_not_come_is_named) {
  Scenario story = standard_story(3, 1, 20s).value();
  story.expectations = {{"detection_p99_ms", 1, false}, {"messages", 1e6, true}, {"nonsense", 1, false}};
  const Report report = played(story);
  EXPECT_FALSE(report.good());
  ASSERT_EQ(report.broken.size(), 3u) << told(story, report);
  EXPECT_TRUE(report.broken[0].starts_with("detection_p99_ms is ")) << report.broken[0];
  EXPECT_EQ(report.broken[2], "nonsense is not there, expected at most 1");
}

// Bursts, duplicates, reordering, drifting clocks, power cuts and stalls together: nothing acknowledged is lost and
// nothing comes twice.
TEST(Play, a_bad_day_loses_nothing_that_was_acknowledged) {
  const auto scenario = parse_scenario(R"(
    [fleet]
    nodes = 10
    length_s = 60
    clock_drift_ppm = 200
    [link]
    latency_ms = 20
    jitter_ms = 30
    loss = 0.02
    duplicate = 0.02
    reorder = 0.1
    burst_loss = 0.9
    burst_every_ms = 8000
    [[load]]
    do = "write"
    each = true
    [[load]]
    do = "broadcast"
    every_ms = 200
    [[load]]
    do = "telemetry"
    each = true
    [[event]]
    at_s = 10
    do = "power"
    nodes = 3
    [[event]]
    at_s = 20
    do = "boot"
    [[event]]
    at_s = 30
    do = "stall"
    nodes = 2
    for_ms = 1200
    [expect]
    delivered_fraction_min = 0.999
  )",
                                       "bad day");
  ASSERT_TRUE(scenario) << scenario.error().message;
  const Report report = played(*scenario);
  EXPECT_TRUE(report.good()) << told(*scenario, report);
  EXPECT_GT(report.metric("detection_p50_ms"), 0);
}

}  // namespace
}  // namespace sedge::sim
