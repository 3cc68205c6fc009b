// Randomness that an adversary cannot guess, injected per node. The platform draws it from the system; a simulation
// from the node's seed, so that a run repeats.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace sedge::env {

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(MutableBytes out) = 0;

  std::uint64_t u64() {
    std::uint8_t raw[8];
    fill(raw);
    std::uint64_t value = 0;
    std::memcpy(&value, raw, sizeof value);
    return value;
  }
};

}  // namespace sedge::env
