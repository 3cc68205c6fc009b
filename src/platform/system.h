// The seams that need nothing but the system: time and randomness.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "env/entropy.h"

namespace sedge::platform {

// CLOCK_BOOTTIME: goes on while a laptop sleeps, never jumps.
Instant now();
// Seconds since 1970 as the machine believes; for certificates that expire and beacon tags, nothing else.
std::int64_t wall_seconds();
// The same on a clock of this machine's time zone; for the date that a chat template names.
std::int64_t local_seconds();

// What a node is called when nobody says otherwise.
std::string host_name();

class SystemEntropy final : public env::Entropy {
 public:
  void fill(MutableBytes out) override;
};

}  // namespace sedge::platform
