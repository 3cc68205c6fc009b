#include "sim/explore.h"

#include <gtest/gtest.h>

#include "sim/play.h"

namespace sedge::sim {
namespace {

// A few of them in every test run; `./dev sim --minutes N` plays on from any number.
class Explore : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Explore, a_random_scenario_breaks_no_invariant) {
  const Scenario scenario = random_scenario(GetParam());
  ASSERT_TRUE(check_scenario(scenario));
  const auto report = play(scenario);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->good()) << "sedge sim --random " << GetParam() << "\n" << json::write(to_json(scenario, *report));
}

INSTANTIATE_TEST_SUITE_P(Number, Explore, testing::Range<std::uint64_t>(1, 13));

// Numbers that once broke an invariant, and by what.
TEST(Explored, what_was_found_stays_mended) {
  const std::pair<std::uint64_t, const char*> kFound[] = {
      {49, "a repair brought an order to a robot that had carried it out before it was restarted"},
  };
  for (const auto& [number, fault] : kFound) {
    ASSERT_EQ(random_scenario(number).world.overlay, mesh::OverlayPolicy()) << number << " is another scenario now";
    const auto report = play(random_scenario(number));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->good()) << "sedge sim --random " << number << ": " << fault;
  }
}

TEST(Explored, a_number_is_a_scenario) {
  EXPECT_EQ(random_scenario(7).nodes, random_scenario(7).nodes);
  EXPECT_EQ(random_scenario(7).happenings.size(), random_scenario(7).happenings.size());
  EXPECT_NE(random_scenario(7).world.link.latency, random_scenario(8).world.link.latency);
}

}  // namespace
}  // namespace sedge::sim
