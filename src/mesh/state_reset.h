// How a node that was away for too long finds out what is over.
//
// While it was away the others collected tombstones, so nothing is left that would end the writes that it still has
// and they erased. It lists what lives with it, and is told what is over; what they have never seen is not: that is its
// own work of the time without them, and stays. A write is dropped on the word of two, or of the only other member, or
// of the only neighbour after a whole period: one liar takes nothing from a node that has others to ask.
// Not asked for: counters (only their writer's later count ends them), tombstones, and entries under "sys/", which are
// never erased.
// Rejected: taking the others' state whole, in place of its own: faster to say, and it loses the work.
// Bounded: a vote a write that lives here and witness. Threads: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "crdt/replica.h"
#include "mesh/state_rows.h"

namespace sedge::mesh {

class StateReset {
 public:
  explicit StateReset(Instant since) : since_(since) {}
  Instant since() const { return since_; }

  // The next of our writes to ask `peer` about, which says that it has collected up to `frontier_ms`. None: it has
  // answered for all.
  std::optional<DotSet> page(NodeId peer, const crdt::Replica& replica, std::uint64_t frontier_ms);
  // Errors: DataLoss: an answer to nothing that was asked.
  Status answer(NodeId peer, const DotSet& gone, std::uint64_t frontier_ms);

  bool heard(NodeId peer) const;
  std::size_t heard() const;
  // The least frontier of those who answered for all.
  std::uint64_t frontier_ms() const;
  // What that many say is over.
  std::vector<crdt::Dot> over(std::size_t witnesses) const;

 private:
  struct Witness {
    std::uint64_t frontier_ms = 0;  // as it was when it was first asked
    crdt::Dot upto;                 // it has answered up to here
    DotSet asked;                   // and is not answered
    bool done = false;
  };
  Instant since_;
  std::map<NodeId, Witness> witnesses_;
  std::map<crdt::Dot, std::set<NodeId>> votes_;
};

}  // namespace sedge::mesh
