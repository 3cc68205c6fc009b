// What two nodes say to each other to find how the writes that live with them differ (crdt/session.h): a sketch,
// fingerprints of ranges, and what one wants of the other. All three name their session by its key, which is drawn for
// it and which nobody else knows. Grammar: docs/formats/state_sync.md §4.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace sedge::wire {

using SessionKey = std::array<std::uint8_t, 16>;
using SessionId = std::array<std::uint8_t, 8>;  // a write's name in one session, big-endian

// One coded symbol: a sum of the writes that fall into it.
struct SketchSymbol {
  std::int64_t count = 0;                // how many,
  SessionId ids{};                       // XOR of their names,
  std::array<std::uint8_t, 4> checks{};  // and of their checks
  friend bool operator==(const SketchSymbol&, const SketchSymbol&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("count", count);
    visit("ids", ids);
    visit("checks", checks);
  }
};

// "The writes that live here, as a sketch." Opens a session, or goes on with a sketch that was too short.
struct StateSketch {
  SessionKey key{};
  std::uint64_t items = 0;  // how many live with the sender
  std::uint64_t first = 0;  // number of the first symbol here; 0 begins
  std::vector<SketchSymbol> symbols;
  friend bool operator==(const StateSketch&, const StateSketch&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("key", key);
    visit("items", items);
    visit("first", first);
    visit("symbols", symbols);
  }
};

enum class RangeKind : std::uint8_t {
  kSkip,         // nothing is said of it
  kFingerprint,  // its sum
  kIds,          // all of it, by name
};
constexpr RangeKind wire_last(RangeKind) { return RangeKind::kIds; }

// From its own lower bound up to the one of the range before it; the first one reaches up to the end.
struct StateRange {
  std::uint64_t back = 0;  // how much smaller the bound's stamp is than the one before it; the first: than 2^64 - 1
  Buffer tie;              // among writes of that stamp: at or above this prefix of a name
  RangeKind kind = RangeKind::kSkip;
  std::array<std::uint8_t, 16> fingerprint{};
  std::vector<SessionId> ids;
  friend bool operator==(const StateRange&, const StateRange&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("back", back);
    visit("tie", tie);
    visit("kind", kind);
    if (kind == RangeKind::kFingerprint) visit("fingerprint", fingerprint);
    if (kind == RangeKind::kIds) visit("ids", ids);
  }
};

// Newest first: what lies below the last bound is not spoken of.
struct StateRanges {
  SessionKey key{};
  std::vector<StateRange> ranges;
  friend bool operator==(const StateRanges&, const StateRanges&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("key", key);
    visit("ranges", ranges);
  }
};

// "Send me these." Symbols are answered with a sketch, writes with ops.
struct StateWant {
  SessionKey key{};
  std::uint64_t first = 0;
  std::uint64_t symbols = 0;
  std::vector<SessionId> ids;
  friend bool operator==(const StateWant&, const StateWant&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("key", key);
    visit("first", first);
    visit("symbols", symbols);
    visit("ids", ids);
  }
};

}  // namespace sedge::wire
