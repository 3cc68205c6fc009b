// Time stamps of replicated writes, without trusting anybody's clock.
//
// A stamp is a hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, one number that grows with every
// write and never runs behind a stamp that its writer has merged. So "later" holds for cause and effect exactly, and
// for independent writes as well as clocks agree. Its milliseconds come from the fleet clock: the node's monotonic
// clock plus an offset, the median of what its neighbours' fleet clocks say. Wall clocks were rejected as the source:
// a board without a battery wakes up in 1970, another in 2040, and the second would win every conflict for 14 years.
// A node that starts knows no offset. It begins at the newest stamp on its disk (a newcomer at zero), which is
// behind everyone: a late stamp loses a conflict, an early one would poison the fleet. Until it has heard a settled
// neighbour or some time has passed it is unsettled: its clock has no vote, and where all are unsettled (power came
// back for the whole fleet) they follow the latest, whose disk remembers most.
// Source: Kulkarni et al. 2014, "Logical Physical Clocks".
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "base/id.h"
#include "base/time.h"

namespace sedge::crdt {

struct Hlc {
  std::uint64_t value = 0;  // milliseconds of fleet time << 16 | counter
  friend auto operator<=>(const Hlc&, const Hlc&) = default;

  static constexpr Hlc at_ms(std::uint64_t ms) { return {ms << 16}; }
  constexpr std::uint64_t ms() const { return value >> 16; }
  constexpr std::uint64_t counter() const { return value & 0xffff; }

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("stamp", value);
  }
};

class HybridClock {
 public:
  // A stamp greater than all issued and all observed. 65,536 writes in one millisecond borrow from the next one.
  Hlc next(std::uint64_t fleet_ms);
  // Call only with stamps that were merged: one of a lying clock must not pull ours along.
  void observe(Hlc seen);
  Hlc last() const { return last_; }

 private:
  Hlc last_;
};

class FleetClock {
 public:
  // What a neighbour's fleet clock shows now. An exact one (from a round trip) replaces all former ones of that
  // neighbour; one without a round trip is late by the time it travelled and counts only until then.
  struct Reading {
    std::uint64_t ms = 0;
    bool settled = true;
    bool exact = true;
  };

  struct Options {
    Duration alone = 2s;        // after this long without a settled neighbour a node trusts itself
    Duration dead_zone = 20ms;  // smaller corrections are measurement noise; following them would ratchet the clock
  };
  FleetClock() : FleetClock(Options()) {}
  explicit FleetClock(Options options) : options_(options) {}

  // `known_ms`: the newest stamp on disk, or any better lower bound; 0 for a newcomer.
  void start(std::uint64_t known_ms, Instant now);

  void sample(NodeId neighbour, Reading reading, Instant now);
  void forget(NodeId neighbour) { samples_.erase(neighbour); }

  std::uint64_t ms(Instant now) const;
  bool settled(Instant now) const { return settled_ || now - started_ >= options_.alone; }

 private:
  struct Sample {
    Duration base;  // their fleet clock minus our monotonic clock
    bool settled;
    bool exact;
  };
  void follow(Instant now);

  Options options_;
  Duration base_{};  // fleet clock minus monotonic clock
  Instant started_{};
  bool settled_ = false;
  std::map<NodeId, Sample> samples_;
};

}  // namespace sedge::crdt
