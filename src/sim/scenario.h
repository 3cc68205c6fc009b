// One story for `sedge sim`: a fleet forms, works, loses a node and gets it back, is stalled, split and healed, and in
// the end is looked over: did everybody notice, did anybody die by mistake, was anything lost or delivered twice?
// The moments are fractions of its length, the victims are drawn from the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "sim/world.h"

namespace sedge::sim {

struct ScenarioOptions {
  std::size_t nodes = 50;  // 2 to 500
  std::uint64_t seed = 1;
  Duration length = 60s;  // of virtual time; at least 20 s, for the faults to have room
  LinkModel link;
  // Told at each chapter, for people who wait.
  std::function<void(Instant at, std::string_view what)> chapter;
};

// What came of it. Absent: it did not happen within its limit.
struct ScenarioReport {
  std::optional<Duration> converged;  // from the first boot to one view and one state
  std::optional<Duration> detection;  // from SIGKILL to the last survivor's verdict
  std::optional<Duration> converged_after_rejoin;
  std::optional<Duration> converged_after_heal;
  bool converged_at_end = false;
  std::size_t false_deaths = 0;  // of a running node that was not cut off
  std::size_t writes_acknowledged = 0;
  std::size_t writes_lost = 0;  // acknowledged, and not there in the end
  std::size_t messages = 0;     // published
  std::size_t deliveries = 0;
  std::size_t delivered_twice = 0;
  double bytes_per_node_per_s = 0;
  Counts counts;
  std::uint64_t trace = 0;  // equal for equal options, on every machine

  bool good() const;
};

// Errors: InvalidArgument, naming the option; those of the store.
Result<ScenarioReport> play(const ScenarioOptions& options);

json::Value to_json(const ScenarioOptions& options, const ScenarioReport& report);

}  // namespace sedge::sim
