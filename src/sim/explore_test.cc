#include "sim/explore.h"

#include <gtest/gtest.h>

#include "sim/play.h"

namespace sedge::sim {
namespace {

// A few of them in every test run; `./dev sim --minutes N` plays on from any number.
TEST(Explore, random_scenarios_break_no_invariant) {
  for (std::uint64_t number = 1; number <= 12; ++number) {
    const Scenario scenario = random_scenario(number);
    ASSERT_TRUE(check_scenario(scenario));
    const auto report = play(scenario);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->good()) << "sedge sim --random " << number << "\n" << json::write(to_json(scenario, *report));
  }
}

TEST(Explore, a_number_is_a_scenario) {
  EXPECT_EQ(random_scenario(7).nodes, random_scenario(7).nodes);
  EXPECT_EQ(random_scenario(7).happenings.size(), random_scenario(7).happenings.size());
  EXPECT_NE(random_scenario(7).world.link.latency, random_scenario(8).world.link.latency);
}

}  // namespace
}  // namespace sedge::sim
