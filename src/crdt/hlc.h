// Time stamps of replicated writes, without trusting anybody's clock.
//
// A stamp is a hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, one number that grows with every
// write and never runs behind a stamp that its writer has merged. So "later" holds for cause and effect exactly, and
// for independent writes as well as clocks agree. Its milliseconds come from the fleet clock: the node's monotonic
// clock plus an offset, the middle of what its neighbours' fleet clocks say. Wall clocks were rejected as the source:
// a board without a battery wakes up in 1970, another in 2040, and the second would win every conflict for 14 years.
// A node that starts knows no offset. It begins at the newest stamp on its disk (a newcomer at zero), which is
// behind everyone: a late stamp loses a conflict, an early one would poison the fleet. Until it has heard a settled
// neighbour or some time has passed it is unsettled: its clock has no vote, and where all are unsettled (power came
// back for the whole fleet) they follow the latest, whose disk remembers most.
// Of a neighbour's last readings the one with the quickest round trip counts (NTP's clock filter, RFC 5905 §10): it
// says most exactly how late it came. It is asked only how far the two monotonic clocks are apart, which nobody sets;
// how far its fleet clock is from its monotonic one, each reading says exactly. A filter on the fleet clock itself was
// rejected: the quickest reading is seconds old, what its node has corrected since is not in it, and a large fleet that
// corrects by old news takes half a minute to settle. Small differences are slewed towards the mean of all votes but
// the greatest and the least, so that one liar has none; a plain median was rejected: where each node stands between
// its neighbours all stay as far apart as they are, and its upper one lets the noise of measuring drive the fleet's
// clock ahead. A newcomer repeats the word of the neighbour that it hears first. Once it hears three it counts them and
// not itself: else a liar heard first would have two votes, and two honest neighbours would not outvote it.
// Sources: Kulkarni et al. 2014, "Logical Physical Clocks"; Lundelius Welch, Lynch 1988; Mills, RFC 5905.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

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
  // What a settled neighbour's clocks showed half a round trip ago.
  struct Exact {
    std::uint64_t fleet_us = 0;
    std::uint64_t steady_us = 0;  // its clock that nobody sets
    Duration rtt{};
  };

  struct Options {
    Duration alone = 2s;      // after this long without a settled neighbour a node trusts itself
    Duration step = 50ms;     // larger corrections are made at once; smaller ones, which may be noise, bit by bit
    int slew = 8;             // the part of a small correction that one reading makes
    std::size_t window = 16;  // exact readings of a neighbour, of which the quickest counts
  };
  FleetClock() : FleetClock(Options()) {}
  explicit FleetClock(Options options) : options_(options) {}

  // `known_ms`: the newest stamp on disk, or any better lower bound; 0 for a newcomer.
  void start(std::uint64_t known_ms, Instant now);

  void sample(NodeId neighbour, const Exact& reading, Instant now);
  // A neighbour's word without a round trip, late by the time it travelled: it counts until that one's first exact one.
  void hear(NodeId neighbour, std::uint64_t fleet_ms, bool settled, Instant now);
  void forget(NodeId neighbour) { samples_.erase(neighbour); }

  std::uint64_t ms(Instant now) const { return us(now) / 1000; }
  std::uint64_t us(Instant now) const;
  // How far a neighbour's fleet clock is ahead of ours; none before its first exact reading.
  std::optional<Duration> offset(NodeId neighbour) const;
  bool settled(Instant now) const { return settled_ || now - started_ >= options_.alone; }

 private:
  struct Timed {
    Duration apart;  // their monotonic clock minus ours
    Duration rtt;
    Instant at;
  };
  struct Sample {
    bool settled = false;
    Duration theirs{};       // their fleet clock minus their monotonic clock; of one not exact, minus ours
    std::deque<Timed> last;  // empty: not exact
    Duration apart() const;
    Duration base() const { return theirs + apart(); }  // their fleet clock minus our monotonic clock
  };
  void follow(Instant now);

  Options options_;
  Duration base_{};  // fleet clock minus monotonic clock
  Instant started_{};
  bool settled_ = false;
  bool one_word_ = false;  // base_ was a single neighbour's word
  std::map<NodeId, Sample> samples_;
};

}  // namespace sedge::crdt
