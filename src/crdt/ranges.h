// How two sets differ, by fingerprints of ranges: what is equal is left alone, what differs is cut in sixteen, what is
// small is listed. For differences too large for a sketch.
//
// Each message holds ranges newest first, and its answer the ranges that the sender's own fingerprints contradict, cut
// by how many of its own writes lie in them: nobody can choose stamps that make the cuts uneven. 16 is a compromise:
// a cut by 2 costs four times the round trips, a cut by 64 twice the bytes for scattered differences. A range of at
// most 32 is listed by name; the answer to a list is the writes themselves and the names that are wanted. A message has
// room for kRangesMax ranges; what does not fit, the oldest, is left for another session. Sources: Meyer 2023,
// "Range-Based Set Reconciliation"; negentropy (order by time, bounds as short as may be). Threads: re-entrant.
#pragma once

#include <vector>

#include "base/result.h"
#include "crdt/item_set.h"
#include "wire/reconcile_messages.h"

namespace sedge::crdt {

inline constexpr std::size_t kRangeSplit = 16;
inline constexpr std::size_t kRangeListed = 32;     // writes
inline constexpr std::size_t kRangesMax = 2048;     // in a message: 26 bytes each, or a list of up to 270
inline constexpr std::size_t kSessionSends = 4096;  // writes found missing by one message; names wanted by one

struct RangesAnswer {
  std::vector<wire::StateRange> ranges;
  std::vector<Dot> send;             // live here and not there, newest first
  std::vector<std::uint64_t> wants;  // live there and not here
};

// The whole set, cut: what opens a comparison.
std::vector<wire::StateRange> split_all(const ItemSet& set);

// Errors: DataLoss: bounds that do not fall, a list or a message over its bound. Cost: O(ranges log n + listed log
// listed), and once O(n log listed) when lists span everything.
Result<RangesAnswer> compare_ranges(const ItemSet& set, const std::vector<wire::StateRange>& theirs);

}  // namespace sedge::crdt
