// sedge sim: a whole fleet in one process, on virtual time: how does it behave, and the same again from its seed.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include <malloc.h>

#include "apps/command.h"
#include "sim/explore.h"
#include "sim/picture.h"
#include "sim/play.h"
#include "sim/scenario.h"
#include "sim/scenario_write.h"

namespace sedge::apps {

namespace {

struct SimArguments {
  std::string file, picture, write;
  std::optional<std::size_t> nodes;
  std::optional<std::uint64_t> seed;
  std::optional<double> seconds, loss, latency_ms;
  std::optional<std::uint64_t> random;
  double minutes = 0;
  bool quic = false;
  bool json = false;
  bool trace = false;
};

Duration from_seconds(double value) { return Duration(static_cast<std::int64_t>(value * 1e9)); }

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, "{}: cannot be read", path.string());
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

Result<sim::Scenario> read_scenario(const SimArguments& arguments) {
  if (arguments.random) return sim::random_scenario(*arguments.random);
  if (arguments.file.empty()) {
    return sim::standard_story(arguments.nodes.value_or(50), arguments.seed.value_or(1),
                               from_seconds(std::min(arguments.seconds.value_or(60), 1e6)));
  }
  const std::filesystem::path path = arguments.file;
  SEDGE_TRY(const std::string text, read_text(path));
  auto scenario = sim::parse_scenario(text, path.stem().string());
  if (!scenario) return in_context(arguments.file, std::move(scenario).error());
  if (scenario->contacts_file.empty()) return scenario;
  const std::filesystem::path trace = path.parent_path() / scenario->contacts_file;
  SEDGE_TRY(const std::string recorded, read_text(trace));
  auto contacts = sim::parse_contacts(recorded, scenario->nodes);
  if (!contacts) return in_context(trace.string(), std::move(contacts).error());
  scenario->world.contacts = *std::move(contacts);
  return scenario;
}

// What the command line says goes before the file.
Status overrule(const SimArguments& arguments, sim::Scenario& scenario) {
  if (arguments.nodes) scenario.nodes = *arguments.nodes;
  if (arguments.seed) scenario.seed = *arguments.seed;
  if (arguments.quic) scenario.world.quic = true;
  if (arguments.loss) scenario.world.link.loss = *arguments.loss;
  if (arguments.latency_ms) scenario.world.link.latency = from_seconds(*arguments.latency_ms / 1e3);
  return sim::check_scenario(scenario);
}

void print_report(const sim::Report& report, double wall_seconds) {
  for (const auto& [name, value] : report.metrics) {
    fmt::print("  {:<24} {}\n", name, value ? fmt::format("{:.6g}", *value) : "-");
  }
  fmt::print("  {:<24} {:016x}\n", "trace_hash", report.trace);
  fmt::print("  {:<24} {:.1f} times real time\n", "speed", *report.metric("sim_seconds") / wall_seconds);
}

// The command that plays the same again: what was given, with the size and the seed that it came to.
std::string again(const SimArguments& arguments, std::uint64_t number, const sim::Scenario& scenario) {
  std::string command = "sedge sim";
  const auto add = [&command](std::string_view name, const auto& value) {
    if (value) command += fmt::format(" {} {}", name, *value);
  };
  if (!arguments.file.empty()) command += " " + arguments.file;
  const bool drawn = arguments.random.has_value();
  if (drawn) command += fmt::format(" --random {}", number);
  add("--nodes", drawn ? arguments.nodes : std::optional(scenario.nodes));
  add("--seed", drawn ? arguments.seed : std::optional(scenario.seed));
  add("--seconds", arguments.seconds);
  add("--loss", arguments.loss);
  add("--latency-ms", arguments.latency_ms);
  return command + (arguments.quic ? " --quic" : "");
}

Status judge(const SimArguments& arguments, std::uint64_t number, const sim::Scenario& scenario,
             const sim::Report& report) {
  if (report.good()) return {};
  std::string list;
  for (const std::string& broken : report.broken) list += "\n  " + broken;
  const std::string command = again(arguments, number, scenario);
  std::string keep;
  if (arguments.random) keep = fmt::format("\nto keep it:     {} --write tests/scenarios/NAME.toml", command);
  return fail(Code::kInternal, "the fleet did not behave:{}\nthe same again: {}{}", list, command, keep);
}

// The scenario that would be played, as a file. A file that is there already may be somebody's work.
Status write(const SimArguments& arguments, sim::Scenario scenario) {
  const std::filesystem::path out = arguments.write;
  std::error_code error;
  if (std::filesystem::exists(out, error)) {
    return fail(Code::kAlreadyExists, "{} exists: choose another name, or remove it", arguments.write);
  }
  const std::string command = again(arguments, arguments.random.value_or(0), scenario);
  if (!scenario.contacts_file.empty()) {  // it stands beside the file that was read
    const std::filesystem::path trace = std::filesystem::path(arguments.file).parent_path() / scenario.contacts_file;
    scenario.contacts_file =
        std::filesystem::proximate(trace, std::filesystem::absolute(out, error).parent_path(), error).string();
  }
  std::ofstream file(out, std::ios::binary);
  file << fmt::format("# {}: {}\n", arguments.random ? "drawn" : "from", command) << sim::write_scenario(scenario);
  file.flush();
  if (!file) return fail(Code::kUnavailable, "{} cannot be written", arguments.write);
  fmt::print("{} is written; to play it: sedge sim {}\n", arguments.write, arguments.write);
  return {};
}

// One that an earlier hour did not end with: numbers are cheap, and each is told.
std::uint64_t fresh_number() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

// Random scenarios, one number after the other, until the time is over or one breaks an invariant.
Status explore(const SimArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  const auto minutes = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() / 60;
  };
  std::uint64_t number = *arguments.random;
  for (; minutes() < arguments.minutes; ++number) {
    sim::Scenario scenario = sim::random_scenario(number);
    SEDGE_CHECK(overrule(arguments, scenario));
    SEDGE_TRY(const sim::Report report, sim::play(scenario));
    if (arguments.json) {
      json::Object object = sim::to_json(scenario, report).as_object();
      object["number"] = number;
      fmt::print("{}\n", json::write(object));
    } else {
      fmt::print("{:>6}  {:>2} nodes  {:>4.0f} s  {:016x}  {}\n", number, scenario.nodes, *report.metric("sim_seconds"),
                 report.trace, report.good() ? "good" : "BROKEN");
    }
    std::fflush(stdout);
    SEDGE_CHECK(judge(arguments, number, scenario, report));
  }
  if (!arguments.json) fmt::print("{} scenarios, none broke an invariant\n", number - *arguments.random);
  return {};
}

// A thousand nodes take and give back what the allocator would each time give to the kernel and fetch again: with 400
// of them a seventh of the time.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

Status simulate(const SimArguments& arguments) {
  keep_memory();
  SEDGE_TRY(sim::Scenario scenario, read_scenario(arguments));
  SEDGE_CHECK(overrule(arguments, scenario));
  if (!arguments.write.empty()) return write(arguments, std::move(scenario));
  sim::PlayOptions options;
  options.pictures = !arguments.picture.empty();
  if (!arguments.json) {
    options.chapter = [](Instant at, std::string_view what) {
      fmt::print("{:>8.2f} s  {}\n", to_seconds(at - Instant{}), what);
      std::fflush(stdout);
    };
  }
  if (arguments.trace) {
    options.trace = [](Instant at, const std::string& node, const std::string& what) {
      fmt::print(stderr, "{:>10.3f} {} {}\n", to_seconds(at - Instant{}), node, what);
    };
  }
  const auto begun = std::chrono::steady_clock::now();
  SEDGE_TRY(const sim::Report report, sim::play(scenario, options));
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (arguments.json) {
    json::Object object = sim::to_json(scenario, report).as_object();
    object["wall_seconds"] = wall;
    object["speed"] = *report.metric("sim_seconds") / wall;
    fmt::print("{}\n", json::write(object));
  } else {
    print_report(report, wall);
  }
  if (!arguments.picture.empty()) {
    std::ofstream file(arguments.picture, std::ios::binary);
    file << sim::picture(scenario, report);
    file.flush();
    if (!file) return fail(Code::kUnavailable, "{} cannot be written", arguments.picture);
  }
  return judge(arguments, arguments.random.value_or(0), scenario, report);
}

}  // namespace

void add_sim(Commands& commands) {
  CLI::App* command = commands.add(commands.root(), "sim", "Simulate a fleet with faults, on virtual time, from a seed",
                                   "sedge sim tests/scenarios/radio.toml --seed 7\n"
                                   "  sedge sim --random 17 --write tests/scenarios/seventeen.toml");
  const auto arguments = std::make_shared<SimArguments>();
  command->add_option("SCENARIO", arguments->file, "A TOML file (docs/formats/scenario.md); without: a standard story");
  command->add_option("--nodes", arguments->nodes, "Size of the fleet, 2 to 4096 (the file's, or 50)");
  command->add_option("--seed", arguments->seed, "Decides every chance (the file's, or 1)");
  command->add_option("--seconds", arguments->seconds, "Virtual time of the standard story (60)")
      ->check(CLI::Range(20.0, 1e6));
  command->add_option("--loss", arguments->loss, "Part of the packets lost")->check(CLI::Range(0.0, 0.9));
  command->add_option("--latency-ms", arguments->latency_ms, "One way, of each link")->check(CLI::Range(0.0, 10000.0));
  command->add_flag("--quic", arguments->quic, "Links are real QUIC over simulated datagrams; at most 50 nodes");
  command->add_option("--random", arguments->random, "Play the random scenario of this number");
  CLI::Option* write =
      command->add_option("--write", arguments->write, "Write the scenario to this new TOML file, and play nothing");
  CLI::Option* report =
      command->add_option("--report", arguments->picture, "Write pictures of the run to this HTML file");
  CLI::Option* trace =
      command->add_flag("--trace", arguments->trace, "Print what every node sees of members and links, as it happens");
  command
      ->add_option("--minutes", arguments->minutes,
                   "Random scenarios for so long, from --random on; without it from a number that nobody has tried yet")
      ->check(CLI::Range(0.0, 1e5))
      ->excludes(write)
      ->excludes(report)
      ->excludes(trace);
  command->add_flag("--json", arguments->json, "One JSON object a scenario instead of text");
  commands.on(command, [arguments] {
    if (arguments->minutes <= 0) return simulate(*arguments);
    if (!arguments->random) arguments->random = fresh_number();
    return explore(*arguments);
  });
}

}  // namespace sedge::apps
