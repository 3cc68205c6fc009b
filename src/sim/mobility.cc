#include "sim/mobility.h"

#include <algorithm>

namespace sedge::sim {

namespace {

__extension__ using Int128 = __int128;

std::int64_t millimetres(double metres) { return static_cast<std::int64_t>(metres * 1000); }

// The greatest number whose square is not above: by bisection, in whole numbers.
std::int64_t root(std::int64_t square) {
  std::int64_t low = 0, high = std::int64_t{1} << 31;
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    (middle * middle <= square ? low : high) = middle * middle <= square ? middle : middle - 1;
  }
  return low;
}

}  // namespace

Mobility::Mobility(const MobilityModel& model, std::size_t nodes, std::uint64_t seed, Instant now)
    : prng_(seed),
      range_(millimetres(model.range_m)),
      area_(std::max<std::int64_t>(1, millimetres(model.area_m))),
      speed_(std::max<std::int64_t>(1, millimetres(model.speed_mps))),
      pause_(model.pause) {
  for (std::size_t i = 0; i < nodes; ++i) {
    places_.push_back(draw());
    legs_.push_back({places_.back(), places_.back(), now, now});
  }
}

Mobility::Place Mobility::draw() {
  const auto one = [this] { return static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(area_))); };
  const std::int64_t x = one();
  return {x, one()};
}

std::int64_t Mobility::distance(Place a, Place b) {
  return root((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y));
}

void Mobility::move(Instant now) {
  for (std::size_t i = 0; i < legs_.size(); ++i) {
    Leg& leg = legs_[i];
    while (leg.ends + pause_ <= now) {
      const Instant starts = leg.ends + pause_;
      const Place to = draw();
      const Int128 way = distance(leg.to, to);
      leg = {leg.to, to, starts, starts + Duration(static_cast<std::int64_t>(way * 1'000'000'000 / speed_ + 1))};
    }
    const Int128 passed = (std::clamp(now, leg.starts, leg.ends) - leg.starts).count();
    const Int128 all = std::max<std::int64_t>(1, (leg.ends - leg.starts).count());
    places_[i].x = leg.from.x + static_cast<std::int64_t>((leg.to.x - leg.from.x) * passed / all);
    places_[i].y = leg.from.y + static_cast<std::int64_t>((leg.to.y - leg.from.y) * passed / all);
  }
}

bool Mobility::in_range(std::size_t a, std::size_t b) const { return distance(places_[a], places_[b]) <= range_; }

}  // namespace sedge::sim
