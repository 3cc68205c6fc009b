// How a node that was away for too long finds out what is over.
//
// While it was away the others collected tombstones, so nothing is left that would end the writes that it still has
// and they erased. It lists what lives with it, and is told what is over; what they have never seen is not: that is its
// own work of the time without them, and stays. A write is dropped on the word of two, or of the only other member, or
// of the only neighbour after a whole period: one liar takes nothing from a node that has others to ask. One that has
// never seen a write says nothing for it (a crash may have taken it there before the removal came), so where fewer than
// two say that it is over, others are asked; but more must say so than have never seen it, and nobody that it lives.
// Not asked for: counters (only their writer's later count ends them), tombstones, and entries under "sys/", which are
// never erased.
// Rejected: taking the others' state whole, in place of its own: faster to say, and it loses the work.
// Bounded: three numbers a write that lives here. Threads: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

  // The next of our writes to ask `peer` about, which says that it has collected up to `frontier_ms`; of those that are
  // not decided, where enough have answered for all. None: it has answered for all.
  std::optional<DotSet> page(NodeId peer, const crdt::Replica& replica, std::uint64_t frontier_ms, std::size_t enough);
  // Errors: DataLoss: an answer to nothing that was asked.
  Status answer(NodeId peer, const DotSet& gone, const DotSet& unseen, std::uint64_t frontier_ms);

  bool heard(NodeId peer) const;
  std::size_t heard() const;
  // The least frontier of those who answered for all.
  std::uint64_t frontier_ms() const;
  // What is over by the word of that many, or might be by that of one more.
  std::vector<crdt::Dot> over(std::size_t witnesses) const;
  bool undecided(std::size_t witnesses) const;

 private:
  struct Votes {
    std::uint32_t gone = 0;
    std::uint32_t unseen = 0;
    std::uint32_t lives = 0;
    bool over(std::size_t witnesses) const { return lives == 0 && gone >= witnesses && gone > unseen; }
    bool undecided(std::size_t witnesses) const { return lives == 0 && gone > 0 && !over(witnesses); }
  };
  struct Witness {
    std::uint64_t frontier_ms = 0;  // as it was when it was first asked
    crdt::Dot upto;                 // it has answered up to here
    DotSet asked;                   // and is not answered
    bool done = false;
  };
  Instant since_;
  std::map<NodeId, Witness> witnesses_;
  std::map<crdt::Dot, Votes> votes_;
};

}  // namespace sedge::mesh
