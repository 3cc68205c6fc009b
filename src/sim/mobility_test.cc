#include "sim/mobility.h"

#include <gtest/gtest.h>

namespace sedge::sim {
namespace {

// Pairs in range, as a number for each moment.
std::vector<std::size_t> meetings(std::uint64_t seed, Duration time) {
  Mobility mobility({.range_m = 200, .area_m = 1000, .speed_mps = 5, .pause = 2s}, 30, seed, Instant{});
  std::vector<std::size_t> all;
  for (Instant now{}; now < Instant{} + time; now += 500ms) {
    mobility.move(now);
    std::size_t pairs = 0;
    for (std::size_t a = 0; a < 30; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        EXPECT_EQ(mobility.in_range(a, b), mobility.in_range(b, a));
        pairs += mobility.in_range(a, b) ? 1 : 0;
      }
    }
    all.push_back(pairs);
  }
  return all;
}

TEST(Mobility, who_is_in_range_changes_and_repeats_with_the_seed) {
  const auto once = meetings(1, 60s);
  EXPECT_EQ(once, meetings(1, 60s));
  EXPECT_NE(once, meetings(2, 60s));
  EXPECT_NE(once.front(), once.back());
  // Of 435 pairs a circle of 200 m in a square of 1000 m holds about an eighth, fewer at its edge.
  for (const std::size_t pairs : once) EXPECT_TRUE(pairs > 10 && pairs < 150) << pairs;
}

TEST(Mobility, nobody_drives_faster_than_the_speed) {
  Mobility mobility({.range_m = 1, .area_m = 1000, .speed_mps = 10, .pause = 1s}, 2, 3, Instant{});
  Mobility wide({.range_m = 1500, .area_m = 1000, .speed_mps = 10, .pause = 1s}, 2, 3, Instant{});
  mobility.move(Instant{} + 1h);  // many legs at once
  wide.move(Instant{} + 1h);
  EXPECT_FALSE(mobility.in_range(0, 1));
  EXPECT_TRUE(wide.in_range(0, 1));  // all of the square is
}

}  // namespace
}  // namespace sedge::sim
