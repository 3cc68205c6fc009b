// sedge sim: a whole fleet in one process, on virtual time: how does it behave, and the same again from its seed.
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>

#include "apps/command.h"
#include "sim/scenario.h"

namespace sedge::apps {

namespace {

struct SimArguments {
  std::size_t nodes = 50;
  std::uint64_t seed = 1;
  double seconds = 60;
  double loss = 0.01;
  double latency_ms = 2;
  bool json = false;
};

void print_line(const char* what, const std::optional<Duration>& time) {
  const std::string text = time ? fmt::format("{:.0f} ms", to_ms(*time)) : "not within its limit";
  fmt::print("  {:<34} {}\n", what, text);
}

void print_report(const sim::ScenarioReport& report) {
  print_line("found each other in", report.converged);
  print_line("SIGKILL known to everybody in", report.detection);
  print_line("equal again after the rejoin in", report.converged_after_rejoin);
  print_line("equal again after the split in", report.converged_after_heal);
  fmt::print("  {:<34} {}\n", "called dead by mistake", report.false_deaths);
  fmt::print("  {:<34} {} of {}\n", "acknowledged writes lost", report.writes_lost, report.writes_acknowledged);
  fmt::print("  {:<34} {} of {}\n", "deliveries twice", report.delivered_twice, report.deliveries);
  fmt::print("  {:<34} {:.0f}\n", "bytes a node a second", report.bytes_per_node_per_s);
  fmt::print("  {:<34} {:016x}\n", "trace", report.trace);
}

Status simulate(const SimArguments& arguments) {
  if (!std::isfinite(arguments.seconds) || arguments.seconds > 1e6 || !std::isfinite(arguments.latency_ms) ||
      arguments.latency_ms < 0 || arguments.latency_ms > 1000) {
    return fail(Code::kInvalidArgument, "--seconds is at most 1000000 and --latency-ms between 0 and 1000");
  }
  sim::ScenarioOptions options;
  options.nodes = arguments.nodes;
  options.seed = arguments.seed;
  options.length = Duration(static_cast<std::int64_t>(arguments.seconds * 1e9));
  options.link.loss = arguments.loss;
  options.link.latency = Duration(static_cast<std::int64_t>(arguments.latency_ms * 1e6));
  if (!arguments.json) {
    options.chapter = [](Instant at, std::string_view what) {
      fmt::print("{:>8.2f} s  {}\n", to_seconds(at - Instant{}), what);
      std::fflush(stdout);
    };
  }
  SEDGE_TRY(const sim::ScenarioReport report, sim::play(options));
  if (arguments.json) {
    fmt::print("{}\n", json::write(sim::to_json(options, report)));
  } else {
    print_report(report);
  }
  if (!report.good()) return fail(Code::kInternal, "the fleet did not behave; the same seed shows it again");
  return {};
}

}  // namespace

void add_sim(Commands& commands) {
  CLI::App* command = commands.add(commands.root(), "sim", "Simulate a fleet with faults, on virtual time, from a seed",
                                   "sedge sim --nodes 50 --seed 7 --seconds 60 --loss 0.05");
  const auto arguments = std::make_shared<SimArguments>();
  command->add_option("--nodes", arguments->nodes, "Size of the fleet, 2 to 500")->capture_default_str();
  command->add_option("--seed", arguments->seed, "Decides every chance")->capture_default_str();
  command->add_option("--seconds", arguments->seconds, "Virtual time, at least 20")->capture_default_str();
  command->add_option("--loss", arguments->loss, "Part of the packets lost, 0 to 0.5")->capture_default_str();
  command->add_option("--latency-ms", arguments->latency_ms, "One way, of each link")->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object instead of text");
  commands.on(command, [arguments] { return simulate(*arguments); });
}

}  // namespace sedge::apps
