// Sets of dots as they travel and lie on disk (wire::StateRow), and as a core uses them. Everything that comes from
// outside is checked here: ascending, disjoint, nothing before 1.
#pragma once

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "crdt/version_vector.h"
#include "wire/state_messages.h"

namespace sedge::mesh {

// Exact sets, without the vector's bounds.
using DotSet = std::map<std::pair<NodeId, BootEpoch>, crdt::SequenceSet>;

wire::StateRow to_wire(NodeId origin, const crdt::VersionVector::Row& row);

// Errors: DataLoss: not a set of dots.
Result<crdt::VersionVector::Row> from_wire(const wire::StateRow& row);
Result<crdt::VersionVector> vector_from_wire(const std::vector<wire::StateRow>& rows);
Result<DotSet> dots_from_wire(const std::vector<wire::StateRow>& rows);

std::vector<wire::StateRow> dots_to_wire(const DotSet& dots);

// One by one. Errors: DataLoss: more than `max`: a range of two numbers can name any amount.
Result<std::vector<crdt::Dot>> dots_of(const DotSet& dots, std::size_t max);

inline bool contains(const DotSet& dots, const crdt::Dot& dot) {
  const auto at = dots.find({dot.origin, dot.epoch});
  return at != dots.end() && at->second.contains(dot.sequence.value);
}

}  // namespace sedge::mesh
