// A scenario as a file: what was drawn, or came to be by options of a command line, is kept under a name.
#pragma once

#include <string>

#include "sim/scenario.h"

namespace sedge::sim {

// The TOML that parse_scenario() reads the same scenario from, to the nanosecond: what differs from the defaults. Its
// name is the file's, and its contacts are in the file that `contacts_file` names.
// Requires: check_scenario() finds nothing, and each value is one that a file may say.
std::string write_scenario(const Scenario& scenario);

}  // namespace sedge::sim
