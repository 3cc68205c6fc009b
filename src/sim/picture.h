// A played scenario as one HTML file with its pictures inside: who agreed with whom over time, how long messages took,
// what each node sent, and the overlay at the end. Nothing is loaded from anywhere.
#pragma once

#include <string>

#include "sim/play.h"

namespace sedge::sim {

std::string picture(const Scenario& scenario, const Report& report);

}  // namespace sedge::sim
