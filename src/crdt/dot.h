// The name of one write: who made it, in which of its lives, and which it was. A dot is never used twice, because the
// boot epoch is persisted before its first use. Dots of one origin are ordered; those of different origins only
// sorted, so that a map of them keeps each origin's together.
#pragma once

#include <compare>

#include <fmt/format.h>

#include "base/id.h"

namespace sedge::crdt {

struct Dot {
  NodeId origin;
  BootEpoch epoch;
  Sequence sequence;  // from 1
  friend auto operator<=>(const Dot&, const Dot&) = default;

  std::string text() const { return fmt::format("{}/{}/{}", origin.short_hex(), epoch.value, sequence.value); }

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("origin", origin);
    visit("epoch", epoch);
    visit("sequence", sequence);
  }
};

}  // namespace sedge::crdt
