// Carries a scenario out and looks it over: did everybody notice, did anybody die by mistake, was anything lost,
// delivered twice or forgotten, and how long did it all take.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "sim/scenario.h"
#include "sim/world.h"

namespace sedge::sim {

// How the fleet was at a moment: the part of the running nodes that agree with the largest group of like-minded ones,
// on who is a member and on the replicated entries.
struct Sample {
  double seconds = 0;
  double same_view = 0, same_state = 0;
  double bytes_per_node_per_s = 0;  // since the sample before
};

struct Report {
  // By name, in the order of docs/formats/scenario.md; absent ones could not be measured (nobody died, say).
  std::vector<std::pair<std::string, std::optional<double>>> metrics;
  std::vector<std::string> broken;  // invariants and expectations that did not hold, for people
  // For pictures (picture.h); empty unless asked for.
  std::vector<Sample> samples;
  std::vector<double> latencies_ms;  // of reliable messages, ascending
  std::vector<double> node_bytes_per_s;
  std::vector<bool> node_up;
  std::vector<std::pair<std::size_t, std::size_t>> links;
  std::vector<std::pair<double, std::string>> chapters;  // seconds, what

  std::uint64_t trace = 0;  // equal for equal scenarios, on every machine

  std::optional<double> metric(std::string_view name) const;
  bool good() const { return broken.empty(); }
};

struct PlayOptions {
  std::function<void(Instant at, std::string_view what)> chapter;  // for people who wait
  bool pictures = false;                                           // takes samples, one a second
  World::Tell trace;                                               // what every node sees, as it happens
};

// Errors: InvalidArgument: an expectation names no metric; those of the store.
Result<Report> play(const Scenario& scenario, const PlayOptions& options = {});

json::Value to_json(const Scenario& scenario, const Report& report);

}  // namespace sedge::sim
