#include "sim/scenario_write.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "sim/explore.h"
#include "sim/play.h"

namespace sedge::sim {
namespace {

const std::filesystem::path kScenarios =
    std::filesystem::path(__FILE__).parent_path().parent_path().parent_path() / "tests/scenarios";

// The scenario that the text of this one says.
Scenario again(const Scenario& scenario) {
  const std::string text = write_scenario(scenario);
  auto read = parse_scenario(text, scenario.name);
  EXPECT_TRUE(read) << read.error().message << "\n" << text;
  return read ? *std::move(read) : Scenario{};
}

TEST(ScenarioWrite, only_what_differs_from_the_defaults_is_written) {
  Scenario scenario;
  EXPECT_EQ(write_scenario(scenario), "");
  scenario.nodes = 7;
  scenario.contacts_file = "a \"b\"\\c\n";
  scenario.world.overlay = {mesh::OverlayKind::kRing, 8};
  scenario.world.link.latency = 12'500us;
  scenario.loads.push_back({});
  scenario.happenings.push_back({.at = 5s, .who = {.named = {3, 4}}, .every = 1ns});
  scenario.expectations = {{"links_mean", 0.5, true}, {"odd one", 1e18, false}};
  EXPECT_EQ(write_scenario(scenario), R"([fleet]
nodes = 7
overlay = "ring:8"
contacts = "a \"b\"\\c\u000a"

[link]
latency_ms = 12.5

[[load]]
do = "broadcast"

[[event]]
at_s = 5
do = "kill"
nodes = [3, 4]
every_s = 0.000000001

[expect]
links_mean_min = 0.5
"odd one_max" = 1e+18
)");
}

TEST(ScenarioWrite, the_files_of_the_suite_are_read_again_as_they_were) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kScenarios)) {
    if (entry.path().extension() != ".toml") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto scenario = parse_scenario(text, entry.path().stem().string());
    ASSERT_TRUE(scenario) << entry.path() << ": " << scenario.error().message;
    EXPECT_EQ(again(*scenario), *scenario) << write_scenario(*scenario);
    ++files;
  }
  EXPECT_GT(files, 10u);
}

RC_GTEST_PROP(ScenarioWrite, drawn_ones_and_the_story_are_read_again_as_they_were, ()) {
  const auto number = *rc::gen::inRange<std::uint64_t>(0, kSeedMax);
  const Scenario drawn = random_scenario(number);
  RC_ASSERT(again(drawn) == drawn);
  const auto length = Duration(*rc::gen::inRange<std::int64_t>(1'000'000'000, 1'000'000'000'000'000));
  const Scenario story = standard_story(*rc::gen::inRange<std::size_t>(2, kNodesMax + 1), number, length).value();
  RC_ASSERT(story.length == length);
  RC_ASSERT(again(story) == story);
}

// Whatever a file may say, in any field: to the nanosecond, and to the last bit of a number.
RC_GTEST_PROP(ScenarioWrite, times_and_numbers_are_exact, ()) {
  const auto time = [](Duration least, Duration most) {
    return Duration(*rc::gen::inRange(least.count(), most.count() + 1));
  };
  const auto part = [] { return static_cast<double>(*rc::gen::inRange<std::uint64_t>(0, 1ULL << 53)) * 0x1.0p-53; };
  const auto flag = [] { return *rc::gen::arbitrary<bool>(); };
  Scenario scenario{.seed = *rc::gen::inRange<std::uint64_t>(0, kSeedMax),
                    .length = time(1s, 1'000'000s),
                    .boot_time = time(0s, 1'000'000s)};
  scenario.contacts_file = *rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127));
  scenario.world.collect_after = time(0s, 1'000'000s);
  scenario.world.quic = flag();
  scenario.world.pack = flag();
  scenario.world.disk_sync = time(0s, 10s);
  scenario.world.clock_skew_share = part();
  scenario.world.mobility = {.range_m = 1e6 * part(), .area_m = 1 + 1e5 * part(), .pause = time(0s, 9s)};
  scenario.world.link = {.latency = time(0s, 10s),
                         .loss = 0.9 * part(),
                         .plane = time(0s, 10s),
                         .bytes_per_s = 100 + 1e11 * part(),
                         .burst_loss = part(),
                         .burst_every = time(0s, 3600s)};
  scenario.loads.push_back({.work = Work::kTelemetry,
                            .every = time(1ns, 1'000'000s),
                            .each = flag(),
                            .from = time(0s, 1'000'000s),
                            .to = time(0s, 1'000'000s),
                            .by = {*rc::gen::inRange<std::size_t>(0, 50)}});
  scenario.happenings.push_back({.at = time(0s, scenario.length),
                                 .deed = Deed::kStall,
                                 .who = {.share = part()},
                                 .time = time(0s, 1'000'000s),
                                 .time_max = time(0s, 1'000'000s),
                                 .every = time(2s, 1'000'000s),
                                 .to = {*rc::gen::inRange<std::size_t>(0, 50)},
                                 .bytes_per_s = 100 + 1e11 * part(),
                                 .settle = flag()});
  scenario.expectations.push_back(
      {"metric", std::ldexp(part(), *rc::gen::inRange(-1000, 1000)) * (flag() ? 1 : -1), flag()});
  RC_ASSERT(again(scenario) == scenario);
}

// A number that breaks something is kept as a file: it must be the same run.
TEST(ScenarioWrite, what_was_drawn_and_its_file_leave_the_same_trace) {
  const Scenario drawn = random_scenario(8);
  const auto one = play(drawn), other = play(again(drawn));
  ASSERT_TRUE(one && other);
  EXPECT_EQ(one->trace, other->trace);
}

}  // namespace
}  // namespace sedge::sim
