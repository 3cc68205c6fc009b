#include "mesh/coordinates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace sedge::mesh {
namespace {

NodeId node(std::size_t number) {
  NodeId id;
  id.bytes[0] = static_cast<std::uint8_t>(number >> 8);
  id.bytes[1] = static_cast<std::uint8_t>(number);
  return id;
}

// Nodes in a plane, each with five or six neighbours that it measures; now and then one of them is exchanged, as the
// overlay does. Round trips: 4 ms, and up to 80 by the distance, and jitter.
struct Plane {
  struct Robot {
    double x = 0, y = 0;
    std::set<std::size_t> neighbours;
    Coordinates coordinates;
  };
  Plane(std::size_t nodes, std::uint64_t seed, double jitter) : prng(seed), jitter_ms(jitter) {
    for (std::size_t i = 0; i < nodes; ++i) {
      robots.push_back(
          {prng.uniform() * 40 / std::sqrt(2.0), prng.uniform() * 40 / std::sqrt(2.0), {}, Coordinates(i)});
    }
    for (std::size_t i = 0; i < nodes; ++i) {
      while (robots[i].neighbours.size() < 5) exchange(i);
    }
  }
  void exchange(std::size_t i) {
    const std::size_t other = prng.below(robots.size());
    if (other == i) return;
    robots[i].neighbours.insert(other);
    robots[other].neighbours.insert(i);
    for (const std::size_t one : {i, other}) {
      if (robots[one].neighbours.size() <= 6) continue;
      std::vector<std::size_t> all(robots[one].neighbours.begin(), robots[one].neighbours.end());
      const std::size_t gone = all[prng.below(all.size())];
      robots[one].neighbours.erase(gone);
      robots[gone].neighbours.erase(one);
    }
  }
  double real_ms(std::size_t a, std::size_t b) const {
    const double dx = robots[a].x - robots[b].x, dy = robots[a].y - robots[b].y;
    return 4 + 2 * std::sqrt(dx * dx + dy * dy) + jitter_ms;
  }
  // Each measures all its neighbours; `lie` is what the first robot says of itself.
  void round(std::optional<wire::Coordinate> lie = {}) {
    for (std::size_t i = 0; i < robots.size(); ++i) {
      for (const std::size_t other : robots[i].neighbours) {
        const double ms = real_ms(i, other) - jitter_ms + (prng.uniform() + prng.uniform()) * jitter_ms;
        const auto place = other == 0 && lie ? lie : robots[other].coordinates.place();
        robots[i].coordinates.sample(node(other), place, Duration(static_cast<std::int64_t>(ms * 1e6)));
      }
    }
  }
  // What everybody has heard of everybody, as records bring it.
  void tell(std::optional<wire::Coordinate> lie = {}) {
    for (Robot& robot : robots) {
      for (std::size_t other = 0; other < robots.size(); ++other) {
        const auto place = other == 0 && lie ? lie : robots[other].coordinates.place();
        if (place) robot.coordinates.told(node(other), *place);
      }
    }
  }
  // Ten minutes: a probe about every second, a link exchanged every minute.
  void live(int seconds, std::optional<wire::Coordinate> lie = {}) {
    for (int second = 0; second < seconds; ++second) {
      round(lie);
      if (second % 10 == 9) tell(lie);
      if (second % 60 != 59) continue;
      for (std::size_t i = 0; i < robots.size(); ++i) exchange(i);
    }
  }
  // Relative errors of those who do not measure each other, ascending.
  std::vector<double> errors(std::size_t from = 0) const {
    std::vector<double> all;
    for (std::size_t a = from; a < robots.size(); ++a) {
      for (std::size_t b = from; b < a; ++b) {
        if (robots[a].neighbours.contains(b)) continue;
        const double told = to_ms(distance(*robots[a].coordinates.place(), *robots[b].coordinates.place()));
        all.push_back(std::abs(told - real_ms(a, b)) / real_ms(a, b));
      }
    }
    std::ranges::sort(all);
    return all;
  }
  Prng prng;
  double jitter_ms;
  std::vector<Robot> robots;
};

TEST(Coordinates, tell_the_round_trips_that_nobody_measured) {
  for (const auto& [jitter_ms, median, p90] : {std::tuple(1.0, 0.05, 0.15), std::tuple(20.0, 0.1, 0.3)}) {
    Plane plane(100, 1, jitter_ms);
    for (const int minutes : {1, 4, 5}) {
      plane.live(60 * minutes);
      const auto errors = plane.errors();
      fmt::print("jitter {} ms, {} more minutes: median relative error {:.3f}, 90 % within {:.3f}\n", jitter_ms,
                 minutes, errors[errors.size() / 2], errors[errors.size() * 9 / 10]);
    }
    const auto errors = plane.errors();
    EXPECT_LT(errors[errors.size() / 2], median);
    EXPECT_LT(errors[errors.size() * 9 / 10], p90);
  }
}

TEST(Coordinates, a_liar_moves_the_others_by_no_more_than_a_round_trip) {
  constexpr std::int32_t kFar = 10'000'000;
  for (const wire::Coordinate& lie : {wire::Coordinate{kFar, kFar, 0, 0}, wire::Coordinate{0, 0, kFar, 0}}) {
    Plane plane(40, 2, 1);
    plane.live(600);
    plane.live(600, lie);
    for (std::size_t i = 1; i < plane.robots.size(); ++i) {
      const wire::Coordinate place = *plane.robots[i].coordinates.place();
      EXPECT_LT(to_ms(distance(place, wire::Coordinate{})), 500);
    }
    const auto errors = plane.errors(1);
    EXPECT_LT(errors[errors.size() / 2], 0.5);
  }
}

TEST(Coordinates, whatever_is_said_and_measured_a_place_stays_within_bounds) {
  EXPECT_TRUE(rc::check(
      [](const std::vector<std::tuple<std::int32_t, std::int32_t, std::uint32_t, std::uint16_t, std::int64_t>>&
             samples) {
        Coordinates coordinates(1);
        for (const auto& [x, y, height, error, rtt] : samples) {
          wire::Coordinate place{x, y, height, error};
          if (!check_coordinate(place)) place = {};
          coordinates.sample(node(static_cast<std::size_t>(rtt & 63)), place, Duration(rtt));
          if (const auto own = coordinates.place()) RC_ASSERT(check_coordinate(*own).has_value());
        }
      }));
}

TEST(Coordinates, who_is_farther_than_anybody_can_be_is_refused) {
  EXPECT_TRUE(check_coordinate({10'000'000, -10'000'000, 10'000'000, 65535}));
  EXPECT_FALSE(check_coordinate({10'000'001, 0, 0, 0}));
  EXPECT_FALSE(check_coordinate({0, -10'000'001, 0, 0}));
  EXPECT_FALSE(check_coordinate({0, 0, 10'000'001, 0}));
  EXPECT_FALSE(check_coordinate({0, std::numeric_limits<std::int32_t>::min(), 0, 0}));
}

TEST(Coordinates, a_node_alone_has_no_place) {
  Coordinates coordinates(1);
  EXPECT_FALSE(coordinates.place());
  coordinates.sample(node(1), {}, 10ms);
  EXPECT_TRUE(coordinates.place());
  EXPECT_FALSE(coordinates.settled());
}

}  // namespace
}  // namespace sedge::mesh
