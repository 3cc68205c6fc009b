// A scenario: a fleet, its radio, what everybody does all the time, what happens to whom and when, and what must come
// of it. Read from a TOML file (docs/formats/scenario.md) or the standard story of `sedge sim`. Data only: play.h
// carries it out. Whoever is drawn is drawn from the seed, when it happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "sim/world.h"

namespace sedge::sim {

inline constexpr std::size_t kNodesMax = 4096;
inline constexpr std::size_t kQuicNodesMax = 50;
inline constexpr std::uint64_t kSeedMax = INT64_MAX;  // of TOML's numbers
inline constexpr std::int64_t kHappeningsMax = 1'000'000;

// Something done again and again, by one node drawn each time, or by each node at its own moments.
enum class Work : std::uint8_t { kBroadcast, kTelemetry, kWrite, kEphemeral, kAgree };
struct Load {
  Work work = Work::kBroadcast;  // reliable message, best-effort message, replicated write, entry soon erased,
                                 // an agreed value written or read
  Duration every = 1s;
  bool each = false;
  std::size_t bytes = 64;
  Duration from{};  // of the scenario's time, from when the fleet has formed
  Duration to = Duration::max();
  std::vector<std::size_t> by;  // who does it; nobody named: all
  friend bool operator==(const Load&, const Load&) = default;
};

// Nodes by number, or how many are drawn of those that the deed can be done to.
struct Who {
  std::vector<std::size_t> named;
  std::size_t drawn = 0;
  double share = 0;  // of the fleet, drawn
  friend bool operator==(const Who&, const Who&) = default;
};

enum class Deed : std::uint8_t { kKill, kPower, kBoot, kStall, kDisk, kPartition, kCut, kHeal, kSlow };
struct Happening {
  Duration at{};
  Deed deed = Deed::kKill;
  Who who;
  Duration time{};              // of a stall, at least;
  Duration time_max{};          // each drawn up to this, where it is longer
  Duration every{};             // done again and again, until the end; zero: once
  std::vector<std::size_t> to;  // of a cut: who does not hear them; nobody named: all
  std::size_t pairs = 0;        // of a cut: so many drawn pairs instead, of which the second does not hear the first
  std::uint64_t changes = 50;   // of a failing disk: at one of the next so many writes and syncs, drawn
  double bytes_per_s = 20e3;    // of slow links
  bool settle = false;          // nobody works until all is one again; how long that takes is measured
  friend bool operator==(const Happening&, const Happening&) = default;
};

// What must come of it: a field of the report (play.h) and its bound.
struct Expectation {
  std::string metric;
  double bound = 0;
  bool at_least = false;
  friend bool operator==(const Expectation&, const Expectation&) = default;
};

struct Scenario {
  std::string name = "story";
  std::size_t nodes = 50;
  std::uint64_t seed = 1;
  Duration length = 60s;      // from when the fleet has formed
  Duration boot_time = 1s;    // in which the nodes start, one after the other
  Duration settle_max = 30s;  // for coming to one view and one state, whenever that is waited for
  std::string contacts_file;  // beside the scenario's: whoever reads the files puts its contacts into `world`
  WorldOptions world;         // its nodes and seed are those above
  std::vector<Load> loads;
  std::vector<Happening> happenings;  // by time, as written: timeline() has each as often as it is done
  std::vector<Expectation> expectations;
  friend bool operator==(const Scenario&, const Scenario&) = default;
};

// Errors: InvalidArgument with the file's line, or the field and what it may be. scenario_write.h is the way back.
Result<Scenario> parse_scenario(std::string_view toml, std::string name);

// Everybody writes and speaks; one is killed and comes back, one stalls for 1.2 s, a third is cut off and joined again.
Result<Scenario> standard_story(std::size_t nodes, std::uint64_t seed, Duration length);

// Errors: InvalidArgument: what does not fit the fleet or the file, and what it may be.
Status check_scenario(const Scenario& scenario);

// All that happens, by time: what has `every` again and again. Requires: check_scenario() finds nothing.
std::vector<Happening> timeline(const Scenario& scenario);

}  // namespace sedge::sim
