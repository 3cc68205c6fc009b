#include "sim/scenario.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <type_traits>

#include <toml++/toml.h>

#include "sim/scenario_fields.h"

namespace sedge::sim {
namespace {

// Reads one table and remembers which keys were asked for: what is left over is a mistake of whoever wrote the file.
class Reader {
 public:
  Reader(const toml::table& table, std::string where) : table_(table), where_(std::move(where)) {}

  // Keeps `value` where the key is absent, as all of these do.
  template <class T>
  void number(std::string_view key, T& value, std::type_identity_t<T> least, std::type_identity_t<T> most) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const std::optional<T> read = node->value<T>();
    if (!node->is_number() || !read || !(*read >= least && *read <= most)) {
      return complain(key, fmt::format("a number from {} to {}", least, most));
    }
    value = *read;
  }
  void time(std::string_view key, Duration unit, Duration& value, Duration most = kTimeMax) {
    const auto unit_ns = static_cast<double>(unit.count());
    double count = -1;
    number(key, count, 0, static_cast<double>(most.count()) / unit_ns);
    if (count >= 0) value = Duration(std::llround(count * unit_ns));
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
  void overlay(std::string_view key, mesh::OverlayPolicy& value) {
    std::string name = mesh::overlay_text(value);
    text(key, name);
    auto read = mesh::parse_overlay(name);
    if (read) value = *read;
    if (!read && status_) status_ = std::unexpected(std::move(read).error());
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
  void who(std::string_view key, Who& who) {
    const toml::node* node = table_.get(key);
    if (node != nullptr && node->is_array()) return nodes(key, who.named);
    number(key, who.drawn, 1, kNodesMax);
  }
  // A list of them.
  void nodes(std::string_view key, std::vector<std::size_t>& named) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const toml::array* list = node->as_array();
    if (list == nullptr) return complain(key, "a list of nodes' numbers");
    for (const toml::node& each : *list) {
      const auto number = each.value_exact<std::int64_t>();
      if (!number || *number < 0) return complain(key, "a list of nodes' numbers");
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

Status read_fleet(Reader& at, Scenario& scenario) {
  fleet_fields(at, scenario);
  if (scenario.world.collect_every < 1s) at.complain("collect_every_s", "1 or more");
  return at.end();
}

Status read_load(Reader& at, Load& load) {
  load_fields(at, load);
  if (load.every <= Duration::zero()) at.complain("every_ms", "above 0");
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
    if (!bound || !node.is_number() || std::isnan(*bound) || (!at_least && !name.ends_with("_max"))) {
      return fail(Code::kInvalidArgument, "[expect], line {}: '{}' is a number, and its name ends in _min or _max",
                  node.source().begin.line, name);
    }
    expectations.push_back({std::string(name.substr(0, name.size() - 4)), *bound, at_least});
  }
  return {};
}

// How often it is done again.
std::int64_t repeats(const Happening& happening, Duration length) {
  return happening.every == Duration::zero() ? 0 : (length - happening.at) / happening.every;
}

Status check_happenings(const Scenario& scenario) {
  std::int64_t count = 0;
  for (const Happening& happening : scenario.happenings) {
    if (happening.at > scenario.length) {
      return fail(Code::kInvalidArgument, "event at {} s: the scenario ends at {} s", to_seconds(happening.at),
                  to_seconds(scenario.length));
    }
    count += 1 + repeats(happening, scenario.length);
    if (count > kHappeningsMax) {
      return fail(Code::kInvalidArgument, "event at {} s: every {} s makes more than {} of them",
                  to_seconds(happening.at), to_seconds(happening.every), kHappeningsMax);
    }
    for (const auto* named : {&happening.who.named, &happening.to}) {
      if (named->empty() || std::ranges::max(*named) < scenario.nodes) continue;
      return fail(Code::kInvalidArgument, "event at {} s: there is no node {}, nodes are numbers from 0 to {}",
                  to_seconds(happening.at), std::ranges::max(*named), scenario.nodes - 1);
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
  SEDGE_CHECK(read_section(top, "fleet", [&](Reader& at) { return read_fleet(at, scenario); }));
  SEDGE_CHECK(read_section(top, "mobility", [&](Reader& at) {
    mobility_fields(at, scenario.world.mobility);
    return at.end();
  }));
  SEDGE_CHECK(read_section(top, "link", [&](Reader& at) {
    link_fields(at, scenario.world.link);
    return at.end();
  }));
  SEDGE_CHECK(read_rows(top, "load", scenario.loads, read_load));
  SEDGE_CHECK(read_rows(top, "event", scenario.happenings, [](Reader& at, Happening& happening) {
    happening_fields(at, happening);
    return at.end();
  }));
  if (const toml::node* expect = top.take("expect"); expect != nullptr) {
    if (expect->as_table() == nullptr) return fail(Code::kInvalidArgument, "expect: write it as [expect]");
    SEDGE_CHECK(read_expectations(*expect->as_table(), scenario.expectations));
  }
  SEDGE_CHECK(top.end());
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

std::vector<Happening> timeline(const Scenario& scenario) {
  std::vector<Happening> all = scenario.happenings;
  for (Happening again : scenario.happenings) {
    for (std::int64_t left = repeats(again, scenario.length); left > 0; --left) {
      again.at += again.every;
      all.push_back(again);
    }
  }
  std::ranges::stable_sort(all, {}, &Happening::at);
  return all;
}

Status check_scenario(const Scenario& scenario) {
  if (scenario.nodes < 2 || scenario.nodes > kNodesMax) {
    return fail(Code::kInvalidArgument, "nodes {}: a simulated fleet has 2 to {}", scenario.nodes, kNodesMax);
  }
  const bool agrees = std::ranges::any_of(scenario.loads, [](const Load& load) { return load.work == Work::kAgree; });
  if (agrees && !scenario.world.consensus) {
    return fail(Code::kInvalidArgument, "a load of \"agree\" needs \"consensus = true\" in [fleet]: nobody votes");
  }
  if (scenario.world.quic && scenario.nodes > kQuicNodesMax) {
    return fail(Code::kInvalidArgument, "quic with {} nodes: at most {} hold real connections in one process",
                scenario.nodes, kQuicNodesMax);
  }
  if (scenario.seed > kSeedMax) {
    return fail(Code::kInvalidArgument, "seed {}: it is at most {}, the greatest number of a file", scenario.seed,
                kSeedMax);
  }
  if (scenario.length < 1s) {
    return fail(Code::kInvalidArgument, "length {} s: a scenario has at least 1", to_seconds(scenario.length));
  }
  for (const Load& load : scenario.loads) {
    if (load.by.empty() || std::ranges::max(load.by) < scenario.nodes) continue;
    return fail(Code::kInvalidArgument, "load: there is no node {}, nodes are numbers from 0 to {}",
                std::ranges::max(load.by), scenario.nodes - 1);
  }
  for (const Contact& contact : scenario.world.contacts) {
    if (std::max(contact.speaker, contact.hearer) < scenario.nodes) continue;
    return fail(Code::kInvalidArgument, "contacts: there is no node {}, nodes are numbers from 0 to {}",
                std::max(contact.speaker, contact.hearer), scenario.nodes - 1);
  }
  return check_happenings(scenario);
}

}  // namespace sedge::sim
