// Scenarios drawn at random, one for each number: whatever fleets live through, in combinations that nobody thinks of.
// A number that breaks an invariant is kept as a named scenario in tests/scenarios/ once the fault is mended.
#pragma once

#include <cstdint>

#include "sim/scenario.h"

namespace sedge::sim {

// The same scenario for the same number, always; its seed is the number.
Scenario random_scenario(std::uint64_t number);

}  // namespace sedge::sim
