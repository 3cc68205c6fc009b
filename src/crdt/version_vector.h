// Which writes a node has dealt with: merged, or known to be replaced by something merged.
//
// Per origin and boot epoch a set of ranges of sequences, nearly always one. It says what to send to whom, so that a
// node back from a long absence neither gets nor sends what is known; it never decides what a value is. That keeps a
// lying peer harmless: at worst something is not sent on this round, and the digests still differ (mesh/state_sync.h).
// Bounded: kRangesMax ranges an epoch (beyond, the last one is forgotten and its writes may be sent again), kEpochsMax
// epochs an origin (below the oldest kept one, everything counts as known).
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/id.h"
#include "crdt/dot.h"

namespace sedge::crdt {

// Consecutive writes of one life of one origin, both ends included.
struct DotRange {
  NodeId origin;
  BootEpoch epoch;
  Sequence first;
  Sequence last;
  friend auto operator<=>(const DotRange&, const DotRange&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("origin", origin);
    visit("epoch", epoch);
    visit("first", first);
    visit("last", last);
  }
};

// Disjoint ranges that do not touch, first -> last.
class SequenceSet {
 public:
  bool contains(std::uint64_t sequence) const;
  void add(std::uint64_t first, std::uint64_t last);
  const std::map<std::uint64_t, std::uint64_t>& ranges() const { return ranges_; }
  std::uint64_t max() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }
  void forget_last() { ranges_.erase(std::prev(ranges_.end())); }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

class VersionVector {
 public:
  static constexpr std::size_t kRangesMax = 1024;
  static constexpr std::size_t kEpochsMax = 1024;

  struct Row {
    BootEpoch floor;  // everything of earlier epochs counts as known
    std::map<BootEpoch, SequenceSet> epochs;
  };

  bool contains(const Dot& dot) const;
  // Whether all writes of that life up to this one are contained.
  bool complete(const Dot& upto) const;
  // Whether any life has holes: of writes that were ended before they came, or that are still to come.
  bool has_holes() const;
  // Only for a dot whose signature was checked.
  void add(const Dot& dot);
  // A peer's word that nothing in this range is alive. Believed only below a dot that its origin signed: what lies
  // above, the origin may still write. Returns true when that taught us something.
  bool cover(const DotRange& range);

  // What this one contains and `other` does not, in order of dots, for as many as `max` ranges.
  std::vector<DotRange> minus(const VersionVector& other, std::size_t max) const;

  const std::map<NodeId, Row>& rows() const { return rows_; }
  const Row* row(NodeId origin) const;
  // Joins a row that was stored or received.
  void add_row(NodeId origin, const Row& row);

 private:
  void bound(Row& row);
  std::map<NodeId, Row> rows_;
};

}  // namespace sedge::crdt
