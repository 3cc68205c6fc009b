// The first thing a node does with its disk: counts this start, durably, before anybody hears its number. Two lives of
// one node are told apart by it everywhere (dots, broadcast sequences, membership).
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "store/store.h"
#include "trust/revocation.h"

namespace sedge::node {

// Errors: those of the store. DataLoss: the counter is damaged.
Result<BootEpoch> begin_epoch(store::Store& store);

// The last replicated write of `self` that the disk knows of, sent or not; before any: epoch and sequence 0. What a
// node that takes a new key states of its former id. Errors: those of the store. DataLoss: a record is damaged.
Result<trust::Cut> last_write(store::Store& store, NodeId self);

}  // namespace sedge::node
