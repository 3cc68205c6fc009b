// Any text as a scenario: what is read is written down and read again as it was, and its events are bounded.
#include "base/assert.h"
#include "base/bytes.h"
#include "sim/scenario.h"
#include "sim/scenario_write.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sedge;
  const auto scenario = sim::parse_scenario(as_text({data, size}), "fuzz");
  if (!scenario) return 0;
  SEDGE_ASSERT(sim::timeline(*scenario).size() <= static_cast<std::size_t>(sim::kHappeningsMax));
  const auto again = sim::parse_scenario(sim::write_scenario(*scenario), "fuzz");
  SEDGE_ASSERT(again && *again == *scenario);
  return 0;
}
