// Clients of agreed values on all nodes, and whether one order of their requests explains what they were told.
//
// Two values at a time are written and read by everybody. After some hundred requests others take their place: the
// judge compares each value that was written with each other. Bounded: kAskedMax requests; then nothing more is asked.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "consensus/linearizability.h"
#include "sim/samples.h"
#include "sim/world.h"

namespace sedge::sim {

class Agreeing {
 public:
  static constexpr std::size_t kAskedMax = 20'000;

  struct Outcome {
    std::size_t asked = 0, answered = 0;
    Samples took;                            // of the answered
    std::optional<std::string> unexplained;  // a path whose answers no order explains
  };

  explicit Agreeing(std::uint64_t seed) : prng_(seed) {}

  // One request of node i. The world ends before this does, or runs no further.
  void ask(World& world, std::size_t i);
  Outcome judge() const;

 private:
  Prng prng_;
  std::vector<consensus::Operation> history_;
};

}  // namespace sedge::sim
