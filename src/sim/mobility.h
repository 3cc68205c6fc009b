// Robots that drive about, with a radio of limited range. Random waypoint (Johnson, Maltz 1996): each picks a place in
// a square, drives there in a straight line, rests, and picks another. Two hear each other within the range.
// Whole millimetres and nanoseconds: the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/prng.h"
#include "base/time.h"

namespace sedge::sim {

struct MobilityModel {
  double range_m = 0;  // 0: everybody hears everybody
  double area_m = 1000;
  double speed_mps = 2;
  Duration pause = 5s;
  friend bool operator==(const MobilityModel&, const MobilityModel&) = default;
};

class Mobility {
 public:
  // All start at `now`, at places drawn from the seed.
  Mobility(const MobilityModel& model, std::size_t nodes, std::uint64_t seed, Instant now);

  void move(Instant now);
  bool in_range(std::size_t a, std::size_t b) const;

 private:
  struct Place {
    std::int64_t x = 0, y = 0;  // millimetres
  };
  struct Leg {
    Place from, to;
    Instant starts{}, ends{};
  };
  Place draw();
  static std::int64_t distance(Place a, Place b);

  Prng prng_;
  std::int64_t range_, area_, speed_;  // mm, mm, mm a second
  Duration pause_;
  std::vector<Leg> legs_;
  std::vector<Place> places_;
};

}  // namespace sedge::sim
