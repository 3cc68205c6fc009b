// `sedge run` through the running node: the fleet chooses where.
#pragma once

#include <filesystem>

#include "apps/run_local.h"
#include "base/result.h"

namespace sedge::apps {

// Errors: those of the node; Unavailable when none runs. A refused or late task is an error that says why.
Status run_fleet(const RunOptions& options);

}  // namespace sedge::apps
