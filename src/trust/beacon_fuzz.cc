// Beacons from anybody near: opened with a key that only the seeds know of.
#include "trust/beacon.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(sedge::trust::open_beacon(sedge::trust::FleetSecret{1, 2, 3}, {data, size}));
  return 0;
}
