// The first thing a node does with its disk: counts this start, durably, before anybody hears its number. Two lives of
// one node are told apart by it everywhere (dots, broadcast sequences, membership).
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "store/store.h"

namespace sedge::node {

// Errors: those of the store. DataLoss: the counter is damaged.
Result<BootEpoch> begin_epoch(store::Store& store);

}  // namespace sedge::node
