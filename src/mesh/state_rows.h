// Sets of dots as they travel and lie on disk (wire::StateRow), and as a core uses them. Everything that comes from
// outside is checked here: ascending, disjoint, nothing before 1.
#pragma once

#include <vector>

#include "crdt/version_vector.h"
#include "wire/state_messages.h"

namespace sedge::mesh {

wire::StateRow to_wire(NodeId origin, const crdt::VersionVector::Row& row);

// Errors: DataLoss: not a set of dots.
Result<crdt::VersionVector::Row> from_wire(const wire::StateRow& row);
Result<crdt::VersionVector> vector_from_wire(const std::vector<wire::StateRow>& rows);
}  // namespace sedge::mesh
