#include "sim/scenario.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

#include <toml++/toml.h>

namespace sedge::sim {
namespace {

constexpr std::pair<std::string_view, Work> kWorks[] = {{"broadcast", Work::kBroadcast},
                                                        {"telemetry", Work::kTelemetry},
                                                        {"write", Work::kWrite},
                                                        {"ephemeral", Work::kEphemeral}};
constexpr std::pair<std::string_view, Deed> kDeeds[] = {
    {"kill", Deed::kKill}, {"power", Deed::kPower},         {"boot", Deed::kBoot}, {"stall", Deed::kStall},
    {"disk", Deed::kDisk}, {"partition", Deed::kPartition}, {"cut", Deed::kCut},   {"heal", Deed::kHeal}};

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(value * 1e9)); }

// Reads one table and remembers which keys were asked for: what is left over is a mistake of whoever wrote the file.
class Reader {
 public:
  Reader(const toml::table& table, std::string where) : table_(table), where_(std::move(where)) {}

  // Keeps `value` where the key is absent.
  template <class T>
  void number(std::string_view key, T& value, double least, double most) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const std::optional<double> read = node->value<double>();
    if (!node->is_number() || !read || !(*read >= least && *read <= most)) {
      return complain(key, fmt::format("a number from {} to {}", least, most));
    }
    value = static_cast<T>(*read);
  }
  void time(std::string_view key, double unit_s, Duration& value, double most_s = 1e6) {
    double count = to_seconds(value) / unit_s;
    if (value == Duration::max()) count = most_s / unit_s;
    const double before = count;
    number(key, count, 0, most_s / unit_s);
    if (count != before) value = seconds(count * unit_s);
  }
  void text(std::string_view key, std::string& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto read = node->value_exact<std::string>();
    if (!read) return complain(key, "a text");
    value = *read;
  }
  void flag(std::string_view key, bool& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto read = node->value_exact<bool>();
    if (!read) return complain(key, "true or false");
    value = *read;
  }
  template <class T, std::size_t N>
  void choice(std::string_view key, const std::pair<std::string_view, T> (&names)[N], T& value) {
    const toml::node* node = take(key);
    const auto read = node == nullptr ? std::nullopt : node->value_exact<std::string>();
    const auto row = std::ranges::find_if(names, [&](const auto& each) { return read && each.first == *read; });
    if (row != std::end(names)) {
      value = row->second;
      return;
    }
    std::string list;
    for (const auto& [name, unused] : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
    complain(key, "one of " + list);
  }
  void who(std::size_t nodes, Who& who) {
    if (const toml::node* node = take("nodes"); node != nullptr) {
      if (node->is_array()) {
        numbers("nodes", nodes, who.named);
      } else if (const auto count = node->value_exact<std::int64_t>(); count && *count > 0) {
        who.drawn = static_cast<std::size_t>(*count);
      } else {
        complain("nodes", "how many are drawn, or a list of numbers");
      }
    }
    number("share", who.share, 0, 1);
  }
  // A list of nodes.
  void numbers(std::string_view key, std::size_t nodes, std::vector<std::size_t>& named) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const toml::array* list = node->as_array();
    if (list == nullptr) return complain(key, fmt::format("a list of numbers from 0 to {}", nodes - 1));
    for (const toml::node& each : *list) {
      const auto number = each.value_exact<std::int64_t>();
      if (!number || *number < 0 || static_cast<std::size_t>(*number) >= nodes) {
        return complain(key, fmt::format("numbers from 0 to {}", nodes - 1));
      }
      named.push_back(static_cast<std::size_t>(*number));
    }
  }
  const toml::node* take(std::string_view key) {
    taken_.insert(std::string(key));
    return table_.get(key);
  }
  void complain(std::string_view key, const std::string& wanted) {
    if (status_) status_ = fail(Code::kInvalidArgument, "{}: {} is {}", where_, key, wanted);
  }
  Status end() {
    for (const auto& [key, node] : table_) {
      if (status_ && !taken_.contains(key.str())) {
        status_ = fail(Code::kInvalidArgument, "{}, line {}: there is no '{}' here (docs/formats/scenario.md)", where_,
                       node.source().begin.line, key.str());
      }
    }
    return std::move(status_);
  }

 private:
  const toml::table& table_;
  std::string where_;
  std::set<std::string, std::less<>> taken_;
  Status status_;
};

Status read_link(Reader& at, LinkModel& link) {
  at.time("latency_ms", 1e-3, link.latency, 10);
  at.time("jitter_ms", 1e-3, link.jitter, 10);
  at.time("plane_ms", 1e-3, link.plane, 10);
  at.number("loss", link.loss, 0, 0.9);
  at.number("bytes_per_s", link.bytes_per_s, 100, 1e12);
  at.number("duplicate", link.duplicate, 0, 0.5);
  at.number("reorder", link.reorder, 0, 0.5);
  at.time("reorder_ms", 1e-3, link.reorder_by, 10);
  at.number("burst_loss", link.burst_loss, 0, 1);
  at.time("burst_ms", 1e-3, link.burst, 60);
  at.time("burst_every_ms", 1e-3, link.burst_every, 3600);
  return at.end();
}

Status read_load(Reader& at, Load& load) {
  at.choice("do", kWorks, load.work);
  at.time("every_ms", 1e-3, load.every);
  at.flag("each", load.each);
  at.number("bytes", load.bytes, 16, 60'000);
  at.time("from_s", 1, load.from);
  at.time("to_s", 1, load.to);
  if (load.every <= Duration::zero()) at.complain("every_ms", "above 0");
  return at.end();
}

Status read_happening(Reader& at, std::size_t nodes, Happening& happening) {
  at.time("at_s", 1, happening.at);
  at.choice("do", kDeeds, happening.deed);
  at.who(nodes, happening.who);
  at.time("for_ms", 1e-3, happening.time);
  at.time("for_ms_max", 1e-3, happening.time_max);
  at.time("every_s", 1, happening.every);
  at.numbers("to", nodes, happening.to);
  at.number("pairs", happening.pairs, 0, 1e6);
  at.number("changes", happening.changes, 1, 1e6);
  at.flag("settle", happening.settle);
  return at.end();
}

// Rows of [[load]] or [[event]].
template <class Row, class Read>
Status read_rows(Reader& top, std::string_view key, std::vector<Row>& rows, Read read) {
  const toml::node* node = top.take(key);
  if (node == nullptr) return {};
  const toml::array* list = node->as_array();
  if (list == nullptr || !list->is_array_of_tables()) {
    return fail(Code::kInvalidArgument, "{}: write each as [[{}]]", key, key);
  }
  for (const toml::node& each : *list) {
    const toml::table& table = *each.as_table();
    Reader reader(table, fmt::format("{} at line {}", key, table.source().begin.line));
    SEDGE_CHECK(read(reader, rows.emplace_back()));
  }
  return {};
}

template <class Read>
Status read_section(Reader& top, std::string_view key, Read read) {
  const toml::node* node = top.take(key);
  if (node == nullptr) return {};
  if (node->as_table() == nullptr) return fail(Code::kInvalidArgument, "{}: write it as [{}]", key, key);
  Reader reader(*node->as_table(), fmt::format("[{}]", key));
  return read(reader);
}

Status read_expectations(const toml::table& table, std::vector<Expectation>& expectations) {
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    const auto bound = node.value<double>();
    const bool at_least = name.ends_with("_min");
    if (!bound || !node.is_number() || (!at_least && !name.ends_with("_max"))) {
      return fail(Code::kInvalidArgument, "[expect], line {}: '{}' is a number, and its name ends in _min or _max",
                  node.source().begin.line, name);
    }
    expectations.push_back({std::string(name.substr(0, name.size() - 4)), *bound, at_least});
  }
  return {};
}

// Events with every_s, once for each time.
Status repeat(Scenario& scenario) {
  constexpr std::size_t kHappeningsMax = 1'000'000;
  const std::size_t written = scenario.happenings.size();
  for (std::size_t i = 0; i < written; ++i) {
    Happening again = scenario.happenings[i];
    if (again.every == Duration::zero()) continue;
    for (again.at += again.every; again.at <= scenario.length; again.at += again.every) {
      if (scenario.happenings.size() >= kHappeningsMax) {
        return fail(Code::kInvalidArgument, "event at {} s: every {} s makes more than {} of them",
                    to_seconds(scenario.happenings[i].at), to_seconds(again.every), kHappeningsMax);
      }
      scenario.happenings.push_back(again);
    }
  }
  return {};
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view text, std::string name) {
  toml::table file;
  try {
    file = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalidArgument, "line {}: {}", error.source().begin.line, error.description());
  }
  Scenario scenario;
  scenario.name = std::move(name);
  Reader top(file, "the scenario");
  SEDGE_CHECK(read_section(top, "fleet", [&](Reader& at) -> Status {
    at.number("nodes", scenario.nodes, 2, kNodesMax);
    at.number("seed", scenario.seed, 0, 9e15);
    at.time("length_s", 1, scenario.length);
    at.time("boot_s", 1, scenario.boot_time);
    at.time("settle_s", 1, scenario.settle_max);
    at.time("collect_every_s", 1, scenario.world.collect_every);
    at.time("collect_after_s", 1, scenario.world.collect_after);
    if (scenario.world.collect_every < 1s) at.complain("collect_every_s", "1 or more");
    at.flag("multicast", scenario.world.multicast);
    at.flag("quic", scenario.world.quic);
    at.flag("pack", scenario.world.pack);
    std::string overlay = "partial";
    at.text("overlay", overlay);
    SEDGE_TRY(scenario.world.overlay, mesh::parse_overlay(overlay));
    at.number("zones", scenario.world.zones, 0, 1000);
    at.time("disk_sync_ms", 1e-3, scenario.world.disk_sync, 10);
    at.number("clock_drift_ppm", scenario.world.clock_drift_ppm, 0, 1000);
    at.time("clock_skew_s", 1, scenario.world.clock_skew);
    at.number("clock_skew_share", scenario.world.clock_skew_share, 0, 1);
    at.text("contacts", scenario.contacts_file);
    return at.end();
  }));
  SEDGE_CHECK(read_section(top, "mobility", [&](Reader& at) {
    MobilityModel& mobility = scenario.world.mobility;
    at.number("range_m", mobility.range_m, 0, 1e6);
    at.number("area_m", mobility.area_m, 1, 1e6);
    at.number("speed_mps", mobility.speed_mps, 0.001, 1e4);
    at.time("pause_s", 1, mobility.pause);
    return at.end();
  }));
  SEDGE_CHECK(read_section(top, "link", [&](Reader& at) { return read_link(at, scenario.world.link); }));
  SEDGE_CHECK(read_rows(top, "load", scenario.loads, read_load));
  SEDGE_CHECK(read_rows(top, "event", scenario.happenings, [&](Reader& at, Happening& happening) {
    return read_happening(at, scenario.nodes, happening);
  }));
  if (const toml::node* expect = top.take("expect"); expect != nullptr) {
    if (expect->as_table() == nullptr) return fail(Code::kInvalidArgument, "expect: write it as [expect]");
    SEDGE_CHECK(read_expectations(*expect->as_table(), scenario.expectations));
  }
  SEDGE_CHECK(top.end());
  SEDGE_CHECK(repeat(scenario));
  std::ranges::stable_sort(scenario.happenings, {}, &Happening::at);
  SEDGE_CHECK(check_scenario(scenario));
  return scenario;
}

Result<Scenario> standard_story(std::size_t nodes, std::uint64_t seed, Duration length) {
  const double s = to_seconds(length);
  SEDGE_TRY(Scenario story, parse_scenario(fmt::format(R"(
    [fleet]
    nodes = {}
    seed = {}
    length_s = {}
    [[load]]
    do = "write"
    every_ms = 4000
    each = true
    [[load]]
    do = "broadcast"
    every_ms = 4000
    each = true
    [[event]]
    at_s = {}
    do = "kill"
    nodes = 1
    [[event]]
    at_s = {}
    do = "boot"
    settle = true
    [[event]]
    at_s = {}
    do = "stall"
    nodes = 1
    for_ms = 1200
    [[event]]
    at_s = {}
    do = "partition"
    share = 0.34
    [[event]]
    at_s = {}
    do = "heal"
    settle = true
    [expect]
    detection_max_ms_max = 3000
    )",
                                                       nodes, seed, s, s * 0.25, s * 0.4, s * 0.5, s * 0.6, s * 0.75),
                                           "story"));
  return story;
}

Status check_scenario(const Scenario& scenario) {
  if (scenario.nodes < 2 || scenario.nodes > kNodesMax) {
    return fail(Code::kInvalidArgument, "nodes {}: a simulated fleet has 2 to {}", scenario.nodes, kNodesMax);
  }
  if (scenario.world.quic && scenario.nodes > kQuicNodesMax) {
    return fail(Code::kInvalidArgument, "quic with {} nodes: at most {} hold real connections in one process",
                scenario.nodes, kQuicNodesMax);
  }
  if (scenario.length < 1s) {
    return fail(Code::kInvalidArgument, "length {} s: a scenario has at least 1", to_seconds(scenario.length));
  }
  for (const Happening& happening : scenario.happenings) {
    if (happening.at > scenario.length) {
      return fail(Code::kInvalidArgument, "event at {} s: the scenario ends at {} s", to_seconds(happening.at),
                  to_seconds(scenario.length));
    }
  }
  return {};
}

}  // namespace sedge::sim
