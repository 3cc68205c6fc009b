// sedge status: the fleet as this node sees it.
#include <memory>
#include <string>

#include <CLI/App.hpp>

#include "apps/command.h"
#include "apps/control_client.h"

namespace sedge::apps {
namespace {

std::string model_names(const json::Object& member) {
  std::string names;
  if (const auto* models = member.if_contains("models"); models != nullptr && models->is_array()) {
    for (const json::Value& model : models->get_array()) {
      if (!names.empty()) names += ' ';
      if (model.is_object() && model.get_object().contains("name")) names += model.get_object().at("name").as_string();
    }
  }
  return names.empty() ? "-" : names;
}

// Measured over the link; after ~ what the coordinates tell of who has none.
Result<std::string> round_trip_text(const json::Object& member, bool self) {
  SEDGE_TRY(const double rtt, json::get_double(member, "rtt_ms"));
  if (self) return "-";
  if (rtt > 0) return fmt::format("{:.2f}", rtt);
  if (!member.contains("rtt_estimate_ms")) return "-";
  SEDGE_TRY(const double estimate, json::get_double(member, "rtt_estimate_ms"));
  return fmt::format("~{:.1f}", estimate);
}

// A gateway's link is marked by a star.
std::string link_text(const json::Object& member, bool self, bool linked) {
  const auto gateway = json::get_bool(member, "gateway");
  return fmt::format("{}{}", self ? "self" : linked ? "yes" : "no", gateway && *gateway ? "*" : "");
}

// How far its fleet clock is ahead of ours.
std::string clock_text(const json::Object& member) {
  const auto offset = json::get_double(member, "clock_offset_ms");
  return offset ? fmt::format("{:+.2f}", *offset) : "-";
}

// Topics that private messages were published on, and what their budgets still have.
Status print_privacy(const json::Object& report) {
  SEDGE_TRY(const json::Value* rows, json::member(report, "privacy"));
  if (!rows->is_array()) return fail(Code::kInternal, "the node's report has no list of privacy budgets");
  if (!rows->get_array().empty()) fmt::print("\n{:<32} {:>14} {:>8}\n", "private topic", "epsilon spent", "left");
  for (const json::Value& each : rows->get_array()) {
    SEDGE_TRY(const json::Object* row, json::as_object(each, "a privacy budget"));
    SEDGE_TRY(const std::string topic, json::get_string(*row, "topic"));
    SEDGE_TRY(const double spent, json::get_double(*row, "spent"));
    SEDGE_TRY(const double left, json::get_double(*row, "left"));
    fmt::print("{:<32} {:>14g} {:>8g}\n", topic, spent, left);
  }
  return {};
}

Status print_people(const json::Object& report) {
  SEDGE_TRY(const std::string name, json::get_string(report, "name"));
  SEDGE_TRY(const std::string listening, json::get_string(report, "listening"));
  SEDGE_TRY(const std::uint64_t alive, json::get_uint(report, "alive"));
  SEDGE_TRY(const std::string overlay, json::get_string(report, "overlay"));
  SEDGE_TRY(const std::uint64_t resident, json::get_uint(report, "resident_bytes"));
  SEDGE_TRY(const json::Value* members, json::member(report, "members"));
  if (!members->is_array()) return fail(Code::kInternal, "the node's report has no list of members");
  fmt::print("{} listens on {}, {} of {} members alive, overlay {}, {:.1f} MB resident\n\n", name, listening, alive,
             members->get_array().size(), overlay, static_cast<double>(resident) / 1e6);
  fmt::print("{:<16} {:<9} {:<8} {:>6} {:>8} {:>9}  {:<22} {}\n", "name", "id", "state", "link", "rtt ms", "clock ms",
             "address", "models");
  for (const json::Value& each : members->get_array()) {
    SEDGE_TRY(const json::Object* member, json::as_object(each, "a member"));
    SEDGE_TRY(const std::string member_name, json::get_string(*member, "name"));
    SEDGE_TRY(const std::string id, json::get_string(*member, "id"));
    SEDGE_TRY(const std::string state, json::get_string(*member, "state"));
    SEDGE_TRY(const bool self, json::get_bool(*member, "self"));
    SEDGE_TRY(const bool linked, json::get_bool(*member, "linked"));
    const auto* endpoints = member->if_contains("endpoints");
    const bool has_address = endpoints != nullptr && endpoints->is_array() && !endpoints->get_array().empty();
    SEDGE_TRY(const std::string round_trip, round_trip_text(*member, self));
    fmt::print("{:<16} {:<9} {:<8} {:>6} {:>8} {:>9}  {:<22} {}\n", member_name.empty() ? "-" : member_name,
               id.substr(0, 8), state, link_text(*member, self, linked), round_trip, clock_text(*member),
               has_address ? std::string(endpoints->get_array().front().as_string()) : "-", model_names(*member));
  }
  return print_privacy(report);
}

}  // namespace

void add_status(Commands& commands) {
  struct Options {
    std::string home = default_home();
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = commands.add(commands.root(), "status", "Show the fleet as this node sees it", "sedge status");
  command->add_option("--home", options->home, "folder of the node")->capture_default_str();
  command->add_flag("--json", options->json, "everything, for machines");
  commands.on(command, [options]() -> Status {
    SEDGE_TRY(const json::Object report, ask_once(options->home, {{"op", "status"}}));
    if (!options->json) return print_people(report);
    fmt::print("{}\n", json::write(report));
    return {};
  });
}

}  // namespace sedge::apps
