// What a scenario's file may say (docs/formats/scenario.md), told once: the reader (scenario.cc) and the writer
// (scenario_write.cc) go through the same rows, so that neither knows a key that the other does not.
//
// `At` has a function for each kind of value: number, time, flag, text, overlay, choice, nodes and who. One that reads
// changes what it is handed, one that writes looks at it.
#pragma once

#include <string_view>
#include <utility>

#include "sim/scenario.h"

namespace sedge::sim {

inline constexpr std::pair<std::string_view, Work> kWorks[] = {{"broadcast", Work::kBroadcast},
                                                               {"telemetry", Work::kTelemetry},
                                                               {"write", Work::kWrite},
                                                               {"ephemeral", Work::kEphemeral},
                                                               {"agree", Work::kAgree}};
inline constexpr std::pair<std::string_view, Deed> kDeeds[] = {
    {"kill", Deed::kKill},   {"power", Deed::kPower}, {"boot", Deed::kBoot},
    {"stall", Deed::kStall}, {"disk", Deed::kDisk},   {"partition", Deed::kPartition},
    {"cut", Deed::kCut},     {"heal", Deed::kHeal},   {"slow", Deed::kSlow}};

inline constexpr Duration kTimeMax = 1'000'000s;  // of any moment or length of time: whole nanoseconds fit a double

template <class At>
void fleet_fields(At& at, Scenario& scenario) {
  WorldOptions& world = scenario.world;
  at.number("nodes", scenario.nodes, 2, kNodesMax);
  at.number("seed", scenario.seed, 0, kSeedMax);
  at.time("length_s", 1s, scenario.length);
  at.time("boot_s", 1s, scenario.boot_time);
  at.time("settle_s", 1s, scenario.settle_max);
  at.time("collect_every_s", 1s, world.collect_every);
  at.time("collect_after_s", 1s, world.collect_after);
  at.flag("multicast", world.multicast);
  at.flag("quic", world.quic);
  at.flag("pack", world.pack);
  at.flag("consensus", world.consensus);
  at.overlay("overlay", world.overlay);
  at.number("zones", world.zones, 0, 1000);
  at.time("disk_sync_ms", 1ms, world.disk_sync, 10s);
  at.number("clock_drift_ppm", world.clock_drift_ppm, 0, 1000);
  at.time("clock_skew_s", 1s, world.clock_skew);
  at.number("clock_skew_share", world.clock_skew_share, 0, 1);
  at.text("contacts", scenario.contacts_file);
}

template <class At>
void mobility_fields(At& at, MobilityModel& mobility) {
  at.number("range_m", mobility.range_m, 0, 1e6);
  at.number("area_m", mobility.area_m, 1, 1e6);
  at.number("speed_mps", mobility.speed_mps, 0.001, 1e4);
  at.time("pause_s", 1s, mobility.pause);
}

template <class At>
void link_fields(At& at, LinkModel& link) {
  at.time("latency_ms", 1ms, link.latency, 10s);
  at.time("jitter_ms", 1ms, link.jitter, 10s);
  at.time("plane_ms", 1ms, link.plane, 10s);
  at.number("loss", link.loss, 0, 0.9);
  at.number("bytes_per_s", link.bytes_per_s, 100, 1e12);
  at.number("duplicate", link.duplicate, 0, 0.5);
  at.number("reorder", link.reorder, 0, 0.5);
  at.time("reorder_ms", 1ms, link.reorder_by, 10s);
  at.number("burst_loss", link.burst_loss, 0, 1);
  at.time("burst_ms", 1ms, link.burst, 60s);
  at.time("burst_every_ms", 1ms, link.burst_every, 3600s);
}

template <class At>
void load_fields(At& at, Load& load) {
  at.choice("do", kWorks, load.work);
  at.time("every_ms", 1ms, load.every);
  at.flag("each", load.each);
  at.number("bytes", load.bytes, 16, 60'000);
  at.time("from_s", 1s, load.from);
  at.time("to_s", 1s, load.to);
  at.nodes("by", load.by);
}

template <class At>
void happening_fields(At& at, Happening& happening) {
  at.time("at_s", 1s, happening.at);
  at.choice("do", kDeeds, happening.deed);
  at.who("nodes", happening.who);
  at.number("share", happening.who.share, 0, 1);
  at.time("for_ms", 1ms, happening.time);
  at.time("for_ms_max", 1ms, happening.time_max);
  at.time("every_s", 1s, happening.every);
  at.nodes("to", happening.to);
  at.number("pairs", happening.pairs, 0, 1'000'000);
  at.number("changes", happening.changes, 1, 1'000'000);
  at.number("bytes_per_s", happening.bytes_per_s, 100, 1e12);
  at.flag("settle", happening.settle);
}

}  // namespace sedge::sim
