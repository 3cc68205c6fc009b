// Who has seen how much, and so what nobody can miss any more.
//
// A tombstone may go when no node can bring what it ended: when all have merged it. So each member states, in an entry
// of its own (sys/node/<id>/seen), up to which stamp it has dealt with everybody's writes. It knows that of another
// member by that one's own statement, a write as any other: what its writer wrote before has lower numbers and lower
// stamps, so a row without holes up to the statement's dot holds all that its writer stamped before it. The least of
// all statements is acknowledged by all, and because statements are replicated all nodes find the same.
// Cost: one small write a member and period, while there is anything to collect; nothing otherwise.
// Rejected: version vectors in the statements (a thousand rows of a thousand); a coordinator that counts (it is away
// when it is needed); acknowledging each tombstone.
// Sources: Wuu and Bernstein 1984 (what all are known to know); Baquero et al. 2014 (causal stability).
// Bounded by the members of the directory. Threads: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "crdt/op.h"
#include "crdt/version_vector.h"
#include "trust/directory.h"
#include "wire/state_messages.h"

namespace sedge::mesh {

// Where a member's statement lives.
std::string seen_path(NodeId id);

class SeenTable {
 public:
  // `directory` outlives this: who is revoked does not count.
  SeenTable(NodeId self, const trust::Directory& directory) : self_(self), directory_(directory) {}

  // `statement` is the register that lives at seen_path(id); none, or one that cannot be read, is as none.
  void note(NodeId id, const std::optional<crdt::OpView>& statement);

  bool stated(NodeId id) const { return rows_.contains(id); }
  std::size_t others() const;  // that have ever stated anything

  // What all have acknowledged, or all but this node. 0: nothing.
  std::uint64_t acknowledged_ms(bool with_self) const;
  // The frontier that `witnesses` others say, or more: the word of one moves nobody.
  std::uint64_t frontier_ms(std::size_t witnesses) const;

  // What this node may state. None: something of a member is still to come, or somebody has not stated anything yet of
  // those that wrote something or are `enrolled` beside this node.
  std::optional<std::uint64_t> seen_ms(const crdt::VersionVector& known, std::size_t enrolled,
                                       std::uint64_t now_ms) const;
  // The same of those alone who have stated anything within `silence` of the newest statement of another: up to when
  // this node has been in touch. It stays when nobody of several others is heard.
  std::optional<std::uint64_t> in_touch_ms(const crdt::VersionVector& known, std::size_t enrolled, std::uint64_t now_ms,
                                           Duration silence) const;

 private:
  struct Row {
    crdt::Dot dot;
    std::uint64_t stated_ms = 0;  // its stamp
    wire::StateSeen seen;
  };
  bool counts(NodeId id) const { return !directory_.revoked(id); }
  static bool complete(const Row& row, const crdt::VersionVector& known);

  NodeId self_;
  const trust::Directory& directory_;
  std::map<NodeId, Row> rows_;
};

// The former lives in this row of the version vector, the last ones that a statement carries.
std::vector<wire::StateLife> former_lives(const crdt::VersionVector::Row* row, BootEpoch current);

}  // namespace sedge::mesh
