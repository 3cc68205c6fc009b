#include "sim/scenario.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

std::string refusal(std::string_view text) {
  const auto parsed = parse_scenario(text, "t");
  EXPECT_FALSE(parsed) << text;
  return parsed ? "" : parsed.error().message;
}

TEST(Scenario, a_file_is_read_with_defaults_and_its_events_by_time) {
  const auto scenario = parse_scenario(R"(
    [fleet]
    nodes = 7
    length_s = 90
    [link]
    latency_ms = 12.5
    [[load]]
    do = "write"
    every_ms = 500
    each = true
    [[event]]
    at_s = 40
    do = "boot"
    [[event]]
    at_s = 20
    do = "kill"
    nodes = [3, 4]
    [expect]
    delivered_fraction_min = 0.99
    false_deaths_max = 0
  )",
                                       "seven");
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->name, "seven");
  EXPECT_EQ(scenario->nodes, 7u);
  EXPECT_EQ(scenario->seed, 1u);
  EXPECT_EQ(scenario->length, 90s);
  EXPECT_EQ(scenario->world.link.latency, 12'500us);
  ASSERT_EQ(scenario->loads.size(), 1u);
  EXPECT_EQ(scenario->loads[0].work, Work::kWrite);
  EXPECT_EQ(scenario->loads[0].to, Duration::max());
  ASSERT_EQ(scenario->happenings.size(), 2u);
  EXPECT_EQ(scenario->happenings[0].deed, Deed::kKill);
  EXPECT_EQ(scenario->happenings[0].who.named, (std::vector<std::size_t>{3, 4}));
  ASSERT_EQ(scenario->expectations.size(), 2u);
  EXPECT_EQ(scenario->expectations[0].metric, "delivered_fraction");
  EXPECT_TRUE(scenario->expectations[0].at_least);
}

TEST(Scenario, places_contacts_clocks_and_failing_disks_are_read) {
  const auto scenario = parse_scenario(R"(
    [fleet]
    clock_skew_s = 3600
    clock_skew_share = 0.1
    contacts = "mine.contacts"
    overlay = "ring:8"
    zones = 3
    [link]
    plane_ms = 40
    [[event]]
    at_s = 5
    do = "disk"
    nodes = [2]
    changes = 9
    [[event]]
    at_s = 6
    do = "cut"
    pairs = 12
  )",
                                       "t");
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->contacts_file, "mine.contacts");
  EXPECT_EQ(scenario->world.overlay, (mesh::OverlayPolicy{mesh::OverlayKind::kRing, 8}));
  EXPECT_EQ(scenario->world.zones, 3u);
  EXPECT_EQ(scenario->world.clock_skew, 1h);
  EXPECT_EQ(scenario->world.clock_skew_share, 0.1);
  EXPECT_EQ(scenario->world.link.plane, 40ms);
  ASSERT_EQ(scenario->happenings.size(), 2u);
  EXPECT_EQ(scenario->happenings[0].deed, Deed::kDisk);
  EXPECT_EQ(scenario->happenings[0].changes, 9u);
  EXPECT_EQ(scenario->happenings[1].pairs, 12u);
}

TEST(Scenario, a_mistake_is_named_with_its_place_and_the_way_out) {
  EXPECT_EQ(refusal("[fleet]\nnodes = 1\n"), "[fleet]: nodes is a number from 2 to 4096");
  EXPECT_EQ(refusal("[fleet]\nnodes = \"many\"\n"), "[fleet]: nodes is a number from 2 to 4096");
  EXPECT_EQ(refusal("[fleet]\nnode = 5\n"), "[fleet], line 2: there is no 'node' here (docs/formats/scenario.md)");
  EXPECT_NE(refusal("[fleet]\noverlay = \"torus\"\n").find("there is no overlay 'torus'; there are partial"),
            std::string::npos);
  EXPECT_EQ(refusal("[robots]\n"), "the scenario, line 1: there is no 'robots' here (docs/formats/scenario.md)");
  EXPECT_NE(refusal("[[event]]\nat_s = 5\n").find("do is one of \"kill\""), std::string::npos);
  EXPECT_NE(refusal("[[event]]\ndo = \"kill\"\nnodes = [50]\n").find("numbers from 0 to 49"), std::string::npos);
  EXPECT_NE(refusal("[[event]]\ndo = \"cut\"\nto = [50]\n").find("there is no node 50"), std::string::npos);
  EXPECT_NE(refusal("[[load]]\ndo = \"write\"\nby = [50]\n").find("load: there is no node 50"), std::string::npos);
  EXPECT_NE(refusal("[[event]]\ndo = \"kill\"\nevery_s = 0.00001\n").find("more than 1000000"), std::string::npos);
  EXPECT_EQ(refusal("[fleet]\nnodes = 7.5\n"), "[fleet]: nodes is a number from 2 to 4096");
  EXPECT_NE(refusal("[[event]]\ndo = \"kill\"\nat_s = 61\n").find("ends at 60 s"), std::string::npos);
  EXPECT_NE(refusal("[expect]\nmessages = 5\n").find("_min or _max"), std::string::npos);
  EXPECT_NE(refusal("[expect]\nmessages_min = nan\n").find("is a number"), std::string::npos);
  EXPECT_NE(refusal("[fleet\n").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("load = 5\n").find("[[load]]"), std::string::npos);
  EXPECT_NE(refusal("[[load]]\ndo = \"write\"\nevery_ms = 0\n").find("above 0"), std::string::npos);
}

TEST(Scenario, a_fleet_made_smaller_has_no_place_for_nodes_that_are_named) {
  auto scenario = parse_scenario("[[event]]\ndo = \"kill\"\nnodes = [5]\n", "t");
  ASSERT_TRUE(scenario) << scenario.error().message;
  scenario->nodes = 5;
  EXPECT_FALSE(check_scenario(*scenario));
  scenario = parse_scenario("", "t");
  scenario->world.contacts = {{0s, 1s, 0, 49}};
  EXPECT_TRUE(check_scenario(*scenario));
  scenario->nodes = 49;
  EXPECT_FALSE(check_scenario(*scenario));
}

TEST(Scenario, an_event_is_done_again_until_the_end) {
  const auto scenario = parse_scenario(R"(
    [fleet]
    length_s = 30
    [[event]]
    at_s = 5
    do = "kill"
    every_s = 10
    [[event]]
    at_s = 16
    do = "boot"
  )",
                                       "t");
  ASSERT_TRUE(scenario) << scenario.error().message;
  EXPECT_EQ(scenario->happenings.size(), 2u);
  std::vector<std::pair<Duration, Deed>> done;
  for (const Happening& happening : timeline(*scenario)) done.emplace_back(happening.at, happening.deed);
  EXPECT_EQ(done, (std::vector<std::pair<Duration, Deed>>{
                      {5s, Deed::kKill}, {15s, Deed::kKill}, {16s, Deed::kBoot}, {25s, Deed::kKill}}));
}

}  // namespace
}  // namespace sedge::sim
