// What nodes say to each other about replicated state (mesh/state_sync.h). Writes are opaque here: crdt/op.h reads
// them. Grammar: docs/formats/state_sync.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"

namespace sedge::wire {

// Of all living writes but the tombstones stamped before `at_ms`, which is the later of the sender's frontier and that
// which the receiver told it: of what both may have collected nothing is said.
struct StateDigest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint64_t at_ms = 0;
  std::uint64_t frontier_ms = 0;  // the sender's
  friend bool operator==(const StateDigest&, const StateDigest&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("low", low);
    visit("high", high);
    visit("at_ms", at_ms);
    visit("frontier_ms", frontier_ms);
  }
};

// Consecutive sequences, both ends included.
struct StateSpan {
  Sequence first;
  Sequence last;
  friend bool operator==(const StateSpan&, const StateSpan&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("first", first);
    visit("last", last);
  }
};

struct StateEpoch {
  BootEpoch epoch;
  std::vector<StateSpan> spans;  // ascending, disjoint
  friend bool operator==(const StateEpoch&, const StateEpoch&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("epoch", epoch);
    visit("spans", spans);
  }
};

// Writes of one origin: as a record on disk and in a vector.
struct StateRow {
  NodeId origin;
  BootEpoch floor;                 // everything of earlier epochs counts as included
  std::vector<StateEpoch> epochs;  // ascending
  friend bool operator==(const StateRow&, const StateRow&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("origin", origin);
    visit("floor", floor);
    visit("epochs", epochs);
  }
};

// "This is my state." With `pull`, rows say what I have dealt with, and the answer is StateOps; without, there are
// none, and who finds another digest than its own pulls.
struct StateVector {
  StateDigest digest;
  std::uint64_t clock_ms = 0;  // fleet clock as it was sent
  bool settled = false;        // whether that clock is worth following
  bool pull = false;
  std::vector<StateRow> rows;
  friend bool operator==(const StateVector&, const StateVector&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("digest", digest);
    visit("clock_ms", clock_ms);
    visit("settled", settled);
    visit("pull", pull);
    visit("rows", rows);
  }
};

// A range in which the ops of the same message are all that the sender knows to live.
struct StateCover {
  NodeId origin;
  BootEpoch epoch;
  StateSpan span;
  friend bool operator==(const StateCover&, const StateCover&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("origin", origin);
    visit("epoch", epoch);
    visit("span", span);
  }
};

// What ops belong to, for who waits for an answer.
enum class OpsPart : std::uint8_t {
  kLast,           // of a pull, or of none
  kMore,           // of a pull: ask again for the rest
  kSessionLast,    // of a session, which is over for who opened it
  kSessionGoesOn,  // of a session: another answer comes beside this one
};
constexpr OpsPart wire_last(OpsPart) { return OpsPart::kSessionGoesOn; }

// The answer to a pull, and what a session sends. Broadcasts carry the same message with nothing but ops.
struct StateOps {
  std::vector<Buffer> chains;  // certificate chains of origins whose ops are here and which the asker may not know
  std::vector<Buffer> ops;     // signed writes (docs/formats/op.md)
  std::vector<StateCover> covers;
  StateDigest digest;
  OpsPart part = OpsPart::kLast;
  friend bool operator==(const StateOps&, const StateOps&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("chains", chains);
    visit("ops", ops);
    visit("covers", covers);
    visit("digest", digest);
    visit("part", part);
  }
};

// "These live here: which of them are over with you?" Asked by who was away while others collected tombstones.
struct StateStale {
  std::vector<StateRow> living;  // at most kStaleDotsMax writes
  friend bool operator==(const StateStale&, const StateStale&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("living", living);
  }
};
inline constexpr std::size_t kStaleDotsMax = 16'384;

// Of a StateStale: what the sender has dealt with and does not live with it, and what it has never seen. The rest
// lives.
struct StateGone {
  std::uint64_t frontier_ms = 0;
  std::vector<StateRow> gone;
  std::vector<StateRow> unseen;
  friend bool operator==(const StateGone&, const StateGone&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("frontier_ms", frontier_ms);
    visit("gone", gone);
    visit("unseen", unseen);
  }
};

// One life of a node, and the last write of it.
struct StateLife {
  BootEpoch epoch;
  Sequence last;
  friend bool operator==(const StateLife&, const StateLife&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("epoch", epoch);
    visit("last", last);
  }
};

// The value of the entry sys/node/<id>/seen.
struct StateSeen {
  std::uint64_t seen_ms = 0;      // every member's writes stamped before this were dealt with
  std::uint64_t frontier_ms = 0;  // tombstones stamped before this were collected
  std::vector<StateLife> lives;   // the writer's last ones before this one, ascending
  friend bool operator==(const StateSeen&, const StateSeen&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("seen_ms", seen_ms);
    visit("frontier_ms", frontier_ms);
    visit("lives", lives);
  }
};

// The record of what a node has collected, and of how far it has kept pace with the others.
struct StateFrontier {
  std::uint64_t frontier_ms = 0;
  std::uint64_t pace_ms = 0;
  friend bool operator==(const StateFrontier&, const StateFrontier&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("frontier_ms", frontier_ms);
    visit("pace_ms", pace_ms);
  }
};

}  // namespace sedge::wire
