#include "mesh/coordinates.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace sedge::mesh {

namespace {

constexpr double kSpring = 0.25;        // the part of its error that a sample corrects: Dabek's c_c, and his c_e
constexpr double kErrorMax = 1.5;       // relative, of who has measured nothing yet
constexpr double kErrorMin = 0.05;      // nobody is surer: who claims to be would pull alone
constexpr double kHeightMin = 100;      // us
constexpr double kGravity = 1'500'000;  // us: as far away the origin pulls by 1 ms a sample, at 20 ms by 0.2 us
constexpr double kTogether = 1;         // us: nearer than that a direction is drawn
constexpr auto kFarthestUs = static_cast<double>(kFarthest / 1us);

double us(Duration time) { return static_cast<double>(time.count()) / 1e3; }
// Square roots and the four operations are exact by IEEE 754: the same on every machine. std::hypot is not.
double length(double x, double y) { return std::sqrt(x * x + y * y); }

}  // namespace

Status check_coordinate(const wire::Coordinate& place) {
  constexpr auto kMost = static_cast<std::int64_t>(kFarthest / 1us);
  const std::int64_t farthest =
      std::max({std::abs(std::int64_t{place.x_us}), std::abs(std::int64_t{place.y_us}), std::int64_t{place.height_us}});
  if (farthest > kMost) return fail(Code::kDataLoss, "a coordinate {} us away", farthest);
  return {};
}

Duration distance(const wire::Coordinate& a, const wire::Coordinate& b) {
  const double plane = length(static_cast<double>(a.x_us) - b.x_us, static_cast<double>(a.y_us) - b.y_us);
  const double whole = plane + static_cast<double>(a.height_us) + static_cast<double>(b.height_us);
  return static_cast<std::int64_t>(whole) * 1us;
}

Duration Coordinates::Spring::length() const {
  std::vector<Duration> sorted(last.begin(), last.end());
  std::ranges::sort(sorted);
  return sorted[sorted.size() / 2];
}

void Coordinates::sample(NodeId peer, const std::optional<wire::Coordinate>& place, Duration round_trip) {
  if (round_trip <= Duration::zero() || round_trip > kFarthest) return;
  ++samples_;
  Spring& spring = springs_[peer];
  spring.last.push_back(round_trip);
  if (spring.last.size() > kWindow) spring.last.pop_front();
  if (place) spring.place = place;
  spring.measured = samples_;
  if (springs_.size() > kMeasuredMax) {
    springs_.erase(std::ranges::min_element(springs_, {}, [](const auto& row) { return row.second.measured; }));
  }
  pull(spring);
  // One more, in turn, of those that are not measured any more.
  auto next = springs_.upper_bound(last_pulled_);
  if (next == springs_.end()) next = springs_.begin();
  last_pulled_ = next->first;
  if (next->first != peer) pull(next->second);
}

void Coordinates::told(NodeId peer, const wire::Coordinate& place) {
  if (const auto spring = springs_.find(peer); spring != springs_.end()) spring->second.place = place;
}

void Coordinates::forget(NodeId peer) { springs_.erase(peer); }

void Coordinates::pull(const Spring& spring) {
  // Who has no place yet stands at the origin, unsure: as we began.
  const wire::Coordinate other = spring.place.value_or(
      wire::Coordinate{0, 0, static_cast<std::uint32_t>(kHeightMin), static_cast<std::uint16_t>(kErrorMax * 1000)});
  const double real = us(spring.length());
  double dx = x_ - other.x_us, dy = y_ - other.y_us;
  const double plane = length(dx, dy);
  const double told = plane + height_ + other.height_us;
  const double their_error = std::clamp(other.error_permille / 1000.0, kErrorMin, kErrorMax);
  const double weight = error_ / (error_ + their_error);
  const double wrong = std::min(std::abs(told - real) / real, kErrorMax);
  error_ = std::clamp(wrong * kSpring * weight + error_ * (1 - kSpring * weight), kErrorMin, kErrorMax);
  const double step = std::clamp(kSpring * weight * (real - told), -kSpring * real, kSpring * real);
  if (plane >= kTogether) {
    height_ += (height_ + other.height_us) * step / told;
    dx /= plane;
    dy /= plane;
  } else {  // any direction will do: one of a square's edge, made one long
    dx = 2 * prng_.uniform() - 1;
    dy = prng_.chance(0.5) ? 1 : -1;
    const double drawn = length(dx, dy);
    dx /= drawn;
    dy /= drawn;
  }
  x_ += dx * step;
  y_ += dy * step;
  if (const double away = length(x_, y_); away > 0) {
    const double gravity = std::min(away, 1000 * (away / kGravity) * (away / kGravity));
    x_ -= x_ / away * gravity;
    y_ -= y_ / away * gravity;
  }
  x_ = std::clamp(x_, -kFarthestUs, kFarthestUs);
  y_ = std::clamp(y_, -kFarthestUs, kFarthestUs);
  height_ = std::clamp(height_, kHeightMin, kFarthestUs);
}

std::optional<wire::Coordinate> Coordinates::place() const {
  if (samples_ == 0) return std::nullopt;
  return wire::Coordinate{static_cast<std::int32_t>(x_), static_cast<std::int32_t>(y_),
                          static_cast<std::uint32_t>(height_), static_cast<std::uint16_t>(error_ * 1000)};
}

Duration Coordinates::usual_round_trip() const {
  std::vector<Duration> all;
  for (const auto& [peer, spring] : springs_) all.push_back(spring.length());
  if (all.empty()) return {};
  std::ranges::sort(all);
  return all[all.size() / 2];
}

}  // namespace sedge::mesh
