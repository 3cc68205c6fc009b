// Averaging on the wire (consensus/averager.h): what one node has ever given another in one round, so that a message
// that is lost is made good by the next. Grammar: docs/formats/average.md.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/id.h"
#include "base/time.h"

namespace sedge::wire {

// One averaging of a name: who began it, and when by its fleet clock. The smaller is the older.
struct AverageRound {
  std::uint64_t begun_ms = 0;
  NodeId origin;
  friend auto operator<=>(const AverageRound&, const AverageRound&) = default;

  template <class V>
  void fields(V& visit) {
    visit("begun_ms", begun_ms);
    visit("origin", origin);
  }
};

struct AverageShare {
  std::string name;
  AverageRound round;
  Duration window{};          // how long the round takes in all
  Duration left{};            // of it, at the sender
  std::uint64_t session = 0;  // what was given counts from its beginning; a later one is greater
  std::uint64_t number = 0;   // of the message in the session
  double value = 0;           // all that was given since: of the values of those who take part,
  double ones = 0;            // of a 1 of each of those,
  double unit = 0;            // of the one 1 of who began the round,
  double weight = 0;          // and of a 1 of each node that passes shares on
  friend bool operator==(const AverageShare&, const AverageShare&) = default;

  template <class V>
  void fields(V& visit) {
    visit("name", name);
    visit("round", round);
    visit("window", window);
    visit("left", left);
    visit("session", session);
    visit("number", number);
    visit("value", value);
    visit("ones", ones);
    visit("unit", unit);
    visit("weight", weight);
  }
};

}  // namespace sedge::wire
