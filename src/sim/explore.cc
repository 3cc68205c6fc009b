#include "sim/explore.h"

#include <algorithm>

#include "base/prng.h"

namespace sedge::sim {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t number) : prng_(number ^ 0xE1A10BE5EEDULL) {}
  std::uint64_t count(std::uint64_t least, std::uint64_t most) { return least + prng_.below(most - least + 1); }
  double part(double most) { return most * static_cast<double>(prng_.below(1001)) / 1000; }
  Duration ms(std::uint64_t least, std::uint64_t most) { return static_cast<std::int64_t>(count(least, most)) * 1ms; }
  bool chance(double part) { return prng_.chance(part); }

 private:
  Prng prng_;
};

LinkModel draw_link(Draw& draw) {
  LinkModel link;
  link.latency = draw.ms(1, 50);
  link.jitter = draw.ms(0, 60);
  link.loss = draw.part(0.08);
  link.bytes_per_s = draw.chance(0.3) ? 5e5 : 12.5e6;
  if (draw.chance(0.5)) link.duplicate = draw.part(0.05);
  if (draw.chance(0.5)) link.reorder = draw.part(0.2);
  if (draw.chance(0.4)) {
    link.burst_loss = 0.5 + draw.part(0.5);
    link.burst = draw.ms(50, 250);
    link.burst_every = draw.ms(4000, 20000);
  }
  return link;
}

Happening draw_happening(Draw& draw, Duration length) {
  constexpr Deed kDeeds[] = {Deed::kKill,  Deed::kKill,      Deed::kPower, Deed::kPower, Deed::kBoot,
                             Deed::kStall, Deed::kPartition, Deed::kCut,   Deed::kHeal};
  Happening happening;
  happening.at = 1s + draw.ms(0, static_cast<std::uint64_t>(length / 1ms) * 6 / 10);
  happening.deed = kDeeds[draw.count(0, std::size(kDeeds) - 1)];
  switch (happening.deed) {
    case Deed::kPartition:
      happening.who.share = 0.1 + draw.part(0.4);
      break;
    case Deed::kStall:
      happening.who.drawn = draw.count(1, 2);
      happening.time = draw.ms(200, 1200);
      break;
    case Deed::kHeal:
    case Deed::kBoot:
      break;
    default:
      happening.who.drawn = draw.count(1, 2);
  }
  return happening;
}

}  // namespace

Scenario random_scenario(std::uint64_t number) {
  Draw draw(number);
  Scenario scenario;
  scenario.name = "random";
  scenario.seed = number;
  scenario.nodes = draw.count(3, 24);
  scenario.length = draw.ms(20'000, 60'000);
  scenario.boot_time = draw.ms(0, 3000);
  scenario.settle_max = 60s;  // a lost member is dialled every 15 s at last
  scenario.world.link = draw_link(draw);
  scenario.world.disk_sync = draw.ms(1, 20);
  scenario.world.multicast = draw.chance(0.3);
  if (draw.chance(0.5)) scenario.world.clock_drift_ppm = draw.part(200);
  scenario.loads.push_back(
      {.work = Work::kWrite, .every = draw.ms(500, 5000), .each = true, .bytes = draw.count(16, 2000)});
  scenario.loads.push_back({.work = Work::kBroadcast, .every = draw.ms(50, 1000), .bytes = draw.count(16, 4000)});
  if (draw.chance(0.5)) {
    scenario.loads.push_back(
        {.work = Work::kTelemetry, .every = draw.ms(200, 2000), .each = true, .bytes = draw.count(16, 500)});
  }
  for (std::uint64_t left = draw.count(1, 6); left > 0; --left) {
    scenario.happenings.push_back(draw_happening(draw, scenario.length));
  }
  // Drawn last: a number that was found to break something stays the scenario that it was, and gets these on top. Those
  // in explore_test.cc happen to draw no overlay.
  const auto early = [&] { return 1s + draw.ms(0, static_cast<std::uint64_t>(scenario.length / 1ms) * 6 / 10); };
  if (draw.chance(0.3)) {
    scenario.happenings.push_back({.at = early(), .deed = Deed::kDisk, .who = {.drawn = draw.count(1, 2)}});
  }
  if (draw.chance(0.3)) {
    scenario.happenings.push_back({.at = early(), .deed = Deed::kCut, .pairs = draw.count(1, scenario.nodes)});
  }
  if (Draw other(number + 1'000'000'000); other.chance(0.5)) {
    const mesh::OverlayRow& row = mesh::kOverlays[other.count(0, std::size(mesh::kOverlays) - 1)];
    scenario.world.overlay = {row.kind, row.k};
    scenario.world.zones = other.count(0, 3);
  }
  // Entries that come and are erased, and tombstones that are collected within the scenario.
  if (Draw other(number + 2'000'000'000); other.chance(0.5)) {
    scenario.loads.push_back(
        {.work = Work::kEphemeral, .every = other.ms(500, 3000), .each = true, .bytes = other.count(16, 200)});
    scenario.world.collect_every = other.ms(1000, 10'000);
  }
  // Agreed values, by clients everywhere.
  if (Draw other(number + 3'000'000'000); other.chance(0.4)) {
    scenario.loads.push_back({.work = Work::kAgree, .every = other.ms(500, 3000), .each = true});
    scenario.world.consensus = true;
  }
  // Boards whose clocks are far off, robots that drive about, links that carry little, and QUIC itself.
  if (Draw other(number + 4'000'000'000); other.chance(0.3)) {
    scenario.world.clock_skew = other.ms(1000, 7'200'000);
    scenario.world.clock_skew_share = 0.05 + other.part(0.25);
  }
  if (Draw other(number + 5'000'000'000); other.chance(0.3)) {
    scenario.world.mobility = {.range_m = 300 + other.part(400),
                               .area_m = 1000,
                               .speed_mps = 1 + other.part(20),
                               .pause = other.ms(0, 10'000)};
  }
  if (Draw other(number + 6'000'000'000); other.chance(0.3)) {
    Happening slow{.at = early(), .deed = Deed::kSlow, .who = {.drawn = other.count(1, 2)}};
    slow.bytes_per_s = static_cast<double>(other.count(100'000, 400'000));
    scenario.happenings.push_back(slow);
  }
  if (Draw other(number + 7'000'000'000); scenario.nodes <= 12 && other.chance(0.2)) {
    scenario.world.quic = true;
    // Which no longer goes one way only: who loses all of its few links at once has none on which to refute.
    std::erase_if(scenario.happenings, [](const Happening& each) { return each.pairs > 0; });
  }
  // In the end everybody may come together: that is what is looked at. Who drives about does so until all work ends.
  const bool together = scenario.world.mobility.range_m == 0;
  scenario.happenings.push_back({.at = scenario.length * 7 / 10, .deed = Deed::kHeal});
  scenario.happenings.push_back({.at = scenario.length * 8 / 10, .deed = Deed::kBoot, .settle = together});
  std::ranges::stable_sort(scenario.happenings, {}, &Happening::at);
  return scenario;
}

}  // namespace sedge::sim
