// Tasks through the running node: the fleet chooses where.
#pragma once

#include <filesystem>
#include <string>

#include "apps/run_local.h"
#include "base/json.h"
#include "base/result.h"

namespace sedge::apps {

// Errors: those of the node; Unavailable when none runs. A refused or late task is an error that says why.
Status run_fleet(const RunOptions& options);

// The name that nodes which loaded this file offer it by: its stem; a name may have dots in it.
std::string offered_name(const std::filesystem::path& model);

// Of a task's result: an error that says why, where it was not answered.
Status judge(const json::Object& result);

}  // namespace sedge::apps
