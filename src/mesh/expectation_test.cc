#include "mesh/expectation.h"

#include <gtest/gtest.h>

namespace sedge::mesh {
namespace {

using Topics = std::vector<std::string>;

TEST(Expectation, who_falls_silent_is_late_once_a_period) {
  Expectation expectation(100ms);
  const Instant begin = Instant{} + 1s;
  EXPECT_EQ(expectation.next_deadline(), kNever);
  expectation.heard("a", begin);
  expectation.heard("b", begin + 50ms);
  EXPECT_EQ(expectation.next_deadline(), begin + 100ms);
  EXPECT_EQ(expectation.late(begin + 99ms), Topics{});
  EXPECT_EQ(expectation.late(begin + 100ms), Topics{"a"});
  EXPECT_EQ(expectation.late(begin + 149ms), Topics{});
  EXPECT_EQ(expectation.late(begin + 230ms), (Topics{"a", "b"}));
  EXPECT_EQ(expectation.next_deadline(), begin + 250ms);  // b's next; a is expected by 300 ms
}

TEST(Expectation, who_is_heard_in_time_is_never_late) {
  Expectation expectation(100ms);
  Instant now = Instant{} + 1s;
  for (int i = 0; i < 50; ++i, now += 99ms) {
    expectation.heard("a", now);
    EXPECT_EQ(expectation.late(now), Topics{});
  }
  EXPECT_EQ(expectation.late(now + 1ms), Topics{"a"});
}

TEST(Expectation, topics_beyond_the_bound_are_not_expected) {
  Expectation expectation(1s);
  for (std::size_t i = 0; i < Expectation::kTopicsMax + 5; ++i) expectation.heard("t/" + std::to_string(i), Instant{});
  EXPECT_EQ(expectation.late(Instant{} + 1s).size(), Expectation::kTopicsMax);
}

}  // namespace
}  // namespace sedge::mesh
