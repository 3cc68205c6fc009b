// Scenarios drawn at random, one for each number: whatever fleets live through, in combinations that nobody thinks of.
// One that breaks an invariant is written down (scenario_write.h), and stays in tests/scenarios/ once the fault is
// mended: the number means another scenario as soon as more is drawn.
#pragma once

#include <cstdint>

#include "sim/scenario.h"

namespace sedge::sim {

// The same scenario for the same number, always; its seed is the number.
Scenario random_scenario(std::uint64_t number);

}  // namespace sedge::sim
