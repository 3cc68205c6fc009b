#include "sim/scenario_write.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "sim/scenario_fields.h"

namespace sedge::sim {
namespace {

// A basic string of TOML.
std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c == '"' || c == '\\' ? fmt::format("\\{}", c) : std::string(1, c);
    }
  }
  return out + '"';
}

// The shortest text that is read as this number. Whole ones are written as such: TOML's are 64 bits wide, but who asks
// for a double is refused what a double might not hold, so that great ones say that they are one.
std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  if (std::abs(value) >= 1e15 && text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

// Every digit: 12500000 ns in ms are 12.5.
std::string time_text(Duration value, Duration unit) {
  std::string text = fmt::format("{}", value / unit);
  Duration rest = value % unit;
  if (rest > Duration::zero()) text += '.';
  for (; rest > Duration::zero(); rest %= unit) {
    rest *= 10;
    text += static_cast<char>('0' + rest / unit);
  }
  return text;
}

std::string list_text(const std::vector<std::size_t>& nodes) {
  return nodes.empty() ? "" : fmt::format("[{}]", fmt::join(nodes, ", "));
}

// One line for each field, in the order of the fields, whether or not it will be written.
struct Lines {
  struct Line {
    std::string key, value;
    bool must = false;  // stand there, even if it is the default
  };
  std::vector<Line> all;

  void add(std::string_view key, std::string value, bool must = false) {
    all.push_back({std::string(key), std::move(value), must});
  }
  template <class T>
  void number(std::string_view key, const T& value, std::type_identity_t<T>, std::type_identity_t<T>) {
    if constexpr (std::is_integral_v<T>) return add(key, fmt::format("{}", value));
    return add(key, number_text(static_cast<double>(value)));
  }
  void time(std::string_view key, Duration unit, Duration value, Duration = {}) { add(key, time_text(value, unit)); }
  void text(std::string_view key, const std::string& value) { add(key, toml_text(value)); }
  void overlay(std::string_view key, const mesh::OverlayPolicy& value) { text(key, mesh::overlay_text(value)); }
  void flag(std::string_view key, bool value) { add(key, value ? "true" : "false"); }
  template <class T, std::size_t N>
  void choice(std::string_view key, const std::pair<std::string_view, T> (&names)[N], T value) {
    add(key, toml_text(std::ranges::find(names, value, &std::pair<std::string_view, T>::second)->first), true);
  }
  void nodes(std::string_view key, const std::vector<std::size_t>& value) { add(key, list_text(value)); }
  void who(std::string_view key, const Who& who) {
    add(key, who.drawn > 0 ? fmt::format("{}", who.drawn) : list_text(who.named));
  }
};

// The heading, and the lines that are not a default's.
template <class Row, class Fields>
std::string rows_of(std::string_view heading, Row row, Fields fields) {
  Lines lines, usual;
  Row untouched;
  fields(lines, row);
  fields(usual, untouched);
  std::string text;
  for (std::size_t i = 0; i < lines.all.size(); ++i) {
    const auto& [key, value, must] = lines.all[i];
    if (must || value != usual.all[i].value) text += fmt::format("{} = {}\n", key, value);
  }
  return text.empty() ? text : fmt::format("\n{}\n{}", heading, text);
}

bool is_bare(std::string_view key) {
  return std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

std::string write_scenario(const Scenario& scenario) {
  std::string text = rows_of("[fleet]", scenario, [](Lines& at, Scenario& all) { fleet_fields(at, all); });
  text += rows_of("[link]", scenario.world.link, [](Lines& at, LinkModel& link) { link_fields(at, link); });
  text += rows_of("[mobility]", scenario.world.mobility,
                  [](Lines& at, MobilityModel& mobility) { mobility_fields(at, mobility); });
  for (const Load& load : scenario.loads) {
    text += rows_of("[[load]]", load, [](Lines& at, Load& row) { load_fields(at, row); });
  }
  for (const Happening& happening : scenario.happenings) {
    text += rows_of("[[event]]", happening, [](Lines& at, Happening& row) { happening_fields(at, row); });
  }
  if (!scenario.expectations.empty()) text += "\n[expect]\n";
  for (const Expectation& expectation : scenario.expectations) {
    const std::string key = expectation.metric + (expectation.at_least ? "_min" : "_max");
    text += fmt::format("{} = {}\n", is_bare(key) ? key : toml_text(key), number_text(expectation.bound));
  }
  return text.empty() ? text : text.substr(1);  // the first heading has no line above it
}

}  // namespace sedge::sim
