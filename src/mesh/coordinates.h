// How far it is to a node that we have no link to.
//
// Problem: a task goes where its answer comes from soonest, and of a thousand nodes five have a link to us. To dial the
// others only to measure them would cost more than it gains.
//
// Idea: network coordinates, Vivaldi (Dabek, Cox, Kaashoek, Morris 2004). Each node has a place in a plane, and a
// height above it for what its own access adds to every way; the round trip between two is about the distance in the
// plane plus both heights. Each probe's answer brings the neighbour's place, and we move a little towards where the
// measured round trip is right: a spring, weighted by how sure both are. What keeps it steady comes from use in the
// field (Ledlie, Gardner, Seltzer 2007; HashiCorp's serf): the median of the last round trips instead of each one, and
// a weak pull to the origin, without which a fleet drifts as a whole.
//
// Five springs hold a place badly: with them alone the estimates stayed a third off. So who was measured once stays a
// spring, with the place that it tells of itself, when its link has gone; every sample pulls one of those as well.
//
// Liars: a place is bounded, and whole microseconds; one sample moves us by a quarter of the round trip that was
// measured, however far away the neighbour says it is. Nobody answers faster than it can, so a near liar moves us a
// little, and the other neighbours pull us back.
//
// Rejected: landmarks that all measure (they die first); more dimensions (more unknowns than five links can tell).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/membership_messages.h"

namespace sedge::mesh {

inline constexpr Duration kFarthest = 10s;  // of a place in each direction, and of a height

// Errors: DataLoss: no honest node is there; count it against who says so.
Status check_coordinate(const wire::Coordinate& place);
// The round trip that two places tell.
Duration distance(const wire::Coordinate& a, const wire::Coordinate& b);

class Coordinates {
 public:
  explicit Coordinates(std::uint64_t seed) : prng_(seed) {}

  // A round trip to a neighbour, and the place that it said it has (checked).
  void sample(NodeId peer, const std::optional<wire::Coordinate>& place, Duration round_trip);
  // Where somebody says it is now; of those never measured nothing is kept.
  void told(NodeId peer, const wire::Coordinate& place);
  void forget(NodeId peer);

  // Our own place; none before the first sample.
  std::optional<wire::Coordinate> place() const;
  // Worth telling others: it rests on enough samples.
  bool settled() const { return samples_ >= kSamplesMin; }
  // The median of what is measured: what a change of place is to be compared with.
  Duration usual_round_trip() const;

 private:
  static constexpr std::size_t kSamplesMin = 10;
  static constexpr std::size_t kMeasuredMax = 32;  // springs; the one measured longest ago goes first
  static constexpr std::size_t kWindow = 5;        // round trips a median is taken of

  struct Spring {
    std::deque<Duration> last;  // round trips, the newest last
    std::optional<wire::Coordinate> place;
    std::uint64_t measured = 0;  // the sample's number
    Duration length() const;
  };
  void pull(const Spring& spring);

  Prng prng_;
  std::map<NodeId, Spring> springs_;
  NodeId last_pulled_;
  std::size_t samples_ = 0;
  double x_ = 0, y_ = 0, height_ = 100;  // microseconds
  double error_ = 1.5;                   // relative
};

}  // namespace sedge::mesh
