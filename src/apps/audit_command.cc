// sedge audit log | verify: what the nodes of the fleet wrote down, and whether they stand by it.
#include <cstdio>
#include <memory>
#include <string>

#include <CLI/App.hpp>

#include "apps/command.h"
#include "apps/control_client.h"

namespace sedge::apps {
namespace {

struct AuditOptions {
  std::string home = default_home();
  std::string node;
  std::uint64_t count = 20;
  bool fleet = false;
  bool json = false;
};

std::string text_of(const json::Object& object, const char* key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr) return "";
  return value->is_string() ? std::string(value->get_string()) : json::write(*value);
}
std::string short_of(const json::Object& object, const char* key) { return text_of(object, key).substr(0, 8); }

// "answered: heron (model 1f2e3d4c) by 7a6b5c4d for 01234567, 12 tokens, prompt 89abcdef".
std::string told(const json::Object& entry) {
  const std::string kind = text_of(entry, "kind");
  if (kind == "start") return fmt::format("{} began life {}", text_of(entry, "name"), text_of(entry, "epoch"));
  if (kind == "enrolled") {
    return fmt::format("{} ({}) was let in by invitation {}", text_of(entry, "name"), short_of(entry, "subject"),
                       text_of(entry, "invitation"));
  }
  if (kind == "revoked") return fmt::format("{} was put out", short_of(entry, "subject"));
  if (kind == "refusals") {
    return fmt::format("{} was refused {} times, first: {}", short_of(entry, "peer"), text_of(entry, "count"),
                       text_of(entry, "what"));
  }
  if (kind != "inference") return fmt::format("kind {}, unknown to this build", text_of(entry, "kind_number"));
  return fmt::format("{}: {} (model {}) by {} for {}, {} tokens, prompt {}, task {}", text_of(entry, "outcome"),
                     text_of(entry, "model"), short_of(entry, "model_hash"), short_of(entry, "server"),
                     short_of(entry, "owner"), text_of(entry, "tokens"), short_of(entry, "prompt"),
                     short_of(entry, "task"));
}

Status log(const AuditOptions& options) {
  json::Object request{{"op", "audit_log"}, {"count", options.count}};
  if (!options.node.empty()) request["node"] = options.node;
  return ask(options.home, request, [&options](const json::Object& entry) {
    if (options.json)
      fmt::print("{}\n", json::write(entry));
    else
      fmt::print("{:>6} {:>12} ms  {}\n", text_of(entry, "index"), text_of(entry, "fleet_ms"), told(entry));
    return true;
  });
}

const char* meaning(const std::string& kind) {
  if (kind == "equivocation") return "it signed two different entries: a cloned or restored home, or a lie";
  if (kind == "gap") return "entries are missing";
  return "it signed entries that it does not show any more: its end was cut off";
}

void print_chain(const json::Object& chain) {
  const auto& findings = chain.at("findings").as_array();
  fmt::print("{:<16} {:<9} {:>7} entries up to {:>7}  {}\n", text_of(chain, "name"), short_of(chain, "node"),
             text_of(chain, "entries"), text_of(chain, "last"), findings.empty() ? "whole" : "NOT WHOLE");
  for (const json::Value& each : findings) {
    const json::Object& finding = each.as_object();
    const std::string kind = text_of(finding, "kind");
    fmt::print("  {} at {} to {}: {}\n", kind, text_of(finding, "first"), text_of(finding, "last"), meaning(kind));
  }
}

void print_missed(const json::Object& verdict) {
  for (const json::Value& each : verdict.at("missed").as_array()) {
    const json::Object& missed = each.as_object();
    fmt::print("{:<16} {:<9} not fetched: {}\n", text_of(missed, "name"), short_of(missed, "node"),
               text_of(missed, "error"));
  }
  const std::size_t proofs = verdict.at("proofs").as_array().size();
  if (proofs > 0) fmt::print("{} proofs of equivocation are kept; --json shows them\n", proofs);
}

Status verify(const AuditOptions& options) {
  bool whole = false;
  SEDGE_CHECK(ask(options.home, {{"op", "audit_verify"}, {"fleet", options.fleet}}, [&](const json::Object& line) {
    if (line.contains("fetched")) {
      if (on_terminal()) fmt::print(stderr, "\r\x1b[Kfetched {}", text_of(line, "fetched"));
      return true;
    }
    if (on_terminal() && options.fleet) fmt::print(stderr, "\r\x1b[K");
    if (line.contains("verified")) whole = line.at("verified").is_bool() && line.at("verified").get_bool();
    if (options.json)
      fmt::print("{}\n", json::write(line));
    else if (line.contains("verified"))
      print_missed(line);
    else
      print_chain(line);
    return true;
  }));
  if (whole) return {};
  return fail(Code::kDataLoss, "the audit does not verify: what is wrong stands above");
}

}  // namespace

void add_audit(Commands& commands) {
  CLI::App* audit = commands.add(commands.root(), "audit", "What the nodes wrote down, and whether they stand by it",
                                 "sedge audit verify --fleet");
  audit->require_subcommand(1);
  const auto subcommand = [&](const char* name, const char* help, const char* example,
                              Status (*run)(const AuditOptions&)) {
    auto options = std::make_shared<AuditOptions>();
    CLI::App* app = commands.add(*audit, name, help, example);
    app->add_option("--home", options->home, "folder of the node")->capture_default_str();
    app->add_flag("--json", options->json, "one JSON object a line");
    commands.on(app, [options, run] { return run(*options); });
    return std::pair(app, options);
  };
  const auto [log_app, log_options] = subcommand(
      "log", "Show what a node did: starts, enrolments, revocations, inferences", "sedge audit log rover-7", log);
  log_app->add_option("node", log_options->node, "a member's name or the beginning of its id; this node by default");
  log_app->add_option("--count", log_options->count, "the newest so many")->capture_default_str();
  const auto [verify_app, verify_options] = subcommand(
      "verify", "Check the chains; exit status 1 when one is not whole", "sedge audit verify --fleet", verify);
  verify_app->add_flag("--fleet", verify_options->fleet, "fetch every member's chain first");
}

}  // namespace sedge::apps
