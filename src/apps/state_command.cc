// sedge set, get, watch, pub, sub, leader, average: the fleet's state and messages from a shell, through the running
// node.
#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>

#include "apps/command.h"
#include "apps/control_client.h"

namespace sedge::apps {
namespace {

struct StateOptions {
  std::string home = default_home();
  std::string place;  // path, topic or filter
  std::string value;
  std::string kind = "register";
  std::int64_t by = 0;
  std::uint64_t count = 0;
  std::uint64_t depth = 1;
  std::uint64_t keep = 100;
  std::string once;
  std::uint64_t if_version = 0;
  std::string request;
  double patience_s = 10;
  std::string urgency = "normal";
  std::string lifespan;  // as written; empty: for ever
  std::string deadline;  // empty: none
  double epsilon = 0;
  std::string bounds;
  bool retain = false;
  bool linearizable = false;
  bool best_effort = false;
  bool wait_for_all = false;
  bool liveliness = false;
  bool causal = false;
  bool json = false;
};

const std::map<std::string, int> kUrgencies = {{"urgent", 2}, {"normal", 4}, {"low", 5}, {"bulk", 6}, {"idle", 7}};

// "north/field = dry", or one value a line for those that hold several.
void print_entry(const json::Object& line) {
  const auto text = [](const json::Value& value) {
    return value.is_string() ? std::string(value.get_string()) : json::write(value);
  };
  const std::string name = text(line.contains("path") ? line.at("path") : line.at("topic"));
  if (line.contains("erased"))
    fmt::print("{} (erased)\n", name);
  else if (const auto* values = line.if_contains("values")) {
    for (const json::Value& each : values->get_array()) fmt::print("{} = {}\n", name, text(each));
    if (values->get_array().empty()) fmt::print("{} (empty)\n", name);
  } else if (line.contains("tensor_bytes")) {
    fmt::print("{} (tensor of {} bytes; `sedge tensor get` reads it)\n", name, text(line.at("tensor_bytes")));
  } else {
    for (const char* key : {"value", "value_base64", "payload", "payload_base64"}) {
      if (line.contains(key)) fmt::print("{} = {}\n", name, text(line.at(key)));
    }
  }
  std::fflush(stdout);
}

Status stream(const StateOptions& options, const json::Object& request) {
  std::uint64_t seen = 0;
  return ask(options.home, request, [&](const json::Object& line) {
    if (line.contains("subscribed")) {
      if (on_terminal()) fmt::print(stderr, "subscribed; Ctrl-C ends\n");
      return true;
    }
    if (options.json) {
      fmt::print("{}\n", json::write(line));
      std::fflush(stdout);
    } else if (line.contains("path") || line.contains("topic")) {
      print_entry(line);
    } else if (line.contains("late")) {
      fmt::print(stderr, "late: nothing on {}\n", std::string_view(line.at("late").get_string()));
    } else if (line.contains("publisher")) {
      fmt::print(stderr, "publisher {} {}\n", std::string_view(line.at("publisher").get_string()).substr(0, 8),
                 line.at("alive").get_bool() ? "is there" : "is gone");
    }
    if (line.contains("late") || line.contains("publisher")) return true;
    return options.count == 0 || ++seen < options.count;
  });
}

CLI::App* command(Commands& commands, StateOptions& options, const char* name, const char* help, const char* example,
                  const char* place, const char* place_help) {
  CLI::App* app = commands.add(commands.root(), name, help, example);
  app->add_option("--home", options.home, "folder of the node")->capture_default_str();
  app->add_option(place, options.place, place_help)->required();
  app->add_flag("--json", options.json, "one JSON object a line");
  return app;
}

// What `set` and `get` have in common where the fleet's voters answer.
void add_linearizable(CLI::App* app, StateOptions& options) {
  app->add_flag("--linearizable", options.linearizable,
                "an agreed value: a majority of the fleet's voters answers, and all nodes see one order");
  app->add_option("--patience", options.patience_s, "seconds to wait for a majority (--linearizable)")
      ->capture_default_str();
}

void ask_linearizable(const StateOptions& options, json::Object& request) {
  if (!options.linearizable) return;
  request["linearizable"] = true;
  request["patience_ms"] = options.patience_s * 1000;
  if (!options.request.empty()) request["request"] = options.request;
}

void add_set(Commands& commands) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* app = command(commands, *options, "set", "Write a replicated entry; returns when it is durable",
                          "sedge set field/north dry\n  sedge set mission/log 'row 7 done' --append --keep 50\n  sedge "
                          "set 'robot/7/#' --erase\n  sedge set base/leader rover-7 --linearizable",
                          "path", "where");
  app->add_option("value", options->value, "what");
  app->add_flag_callback("--multi", [options] { options->kind = "multi"; }, "keep concurrent writes side by side");
  app->add_flag_callback("--insert", [options] { options->kind = "insert"; }, "add the value to a set");
  app->add_flag_callback("--remove", [options] { options->kind = "remove"; }, "take the value out of a set");
  app->add_flag_callback("--insert-2p", [options] { options->kind = "insert_2p"; }, "add the value to a two-phase set");
  app->add_flag_callback(
      "--remove-2p", [options] { options->kind = "remove_2p"; },
      "take the value out of a two-phase set for good, whoever adds it again");
  app->add_flag_callback("--append", [options] { options->kind = "append"; }, "add the value to a log");
  app->add_option("--keep", options->keep, "entries that the log keeps, the newest (--append)")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app->add_flag_callback(
      "--erase", [options] { options->kind = "erase"; },
      "erase what is there; where may be a filter: 'robot/7/#' is a whole subtree");
  app->add_option("--add", options->by, "change a counter by this much");
  add_linearizable(app, *options);
  app->add_option("--if-version", options->if_version,
                  "only where the agreed value has this version; 0: only where there is none (--linearizable)");
  app->add_option("--request", options->request,
                  "an id of 32 hex digits: asked again with it, it is carried out once (--linearizable)");
  commands.on(app, [options, app]() -> Status {
    const bool counter = app->count("--add") > 0;
    json::Object request{{"op", "set"}, {"path", options->place}, {"kind", counter ? "counter" : options->kind}};
    if (counter)
      request["by"] = options->by;
    else if (options->kind != "erase") {
      if (app->count("value") == 0) return fail(Code::kInvalidArgument, "give a value: sedge set PATH VALUE");
      request["value"] = options->value;
    }
    if (options->kind == "append") request["keep"] = options->keep;
    ask_linearizable(*options, request);
    if (app->count("--if-version") > 0) {
      if (!options->linearizable) return fail(Code::kInvalidArgument, "--if-version needs --linearizable");
      request["if_version"] = options->if_version;
    }
    return stream(*options, request);
  });
}

void add_reader(Commands& commands, const char* name, const char* help, const char* example, const char* key,
                const char* place_help) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* app = command(commands, *options, name, help, example, key, place_help);
  if (std::string_view(name) == "get")
    add_linearizable(app, *options);
  else
    app->add_option("--count", options->count, "end after this many; 0: never");
  commands.on(app, [options, name, key] {
    json::Object request{{"op", name}, {key, options->place}};
    ask_linearizable(*options, request);
    return stream(*options, request);
  });
}

Result<std::pair<double, double>> parse_bounds(const std::string& text) {
  std::pair<double, double> bounds;
  const char* const end = text.data() + text.size();
  const auto low = std::from_chars(text.data(), end, bounds.first);
  if (low.ec == std::errc() && low.ptr != end && *low.ptr == ':') {
    const auto high = std::from_chars(low.ptr + 1, end, bounds.second);
    if (high.ec == std::errc() && high.ptr == end) return bounds;
  }
  return fail(Code::kInvalidArgument, "--bounds is LOW:HIGH, such as 0:100, not '{}'", text);
}

void add_pub(Commands& commands) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* app = command(commands, *options, "pub", "Publish a message",
                          "sedge pub robot/7/orders '{\"do\":\"hold\"}'", "topic", "topic");
  app->add_option("payload", options->value, "the message")->required();
  app->add_flag("--retain", options->retain, "keep it as the topic's last value");
  app->add_option("--depth", options->depth, "keep so many of the topic's last messages (--retain)")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app->add_flag("--best-effort", options->best_effort, "may be lost; never waits");
  app->add_flag("--wait-for-all", options->wait_for_all,
                "for the slowest node too; else one that is slower than most may miss it");
  app->add_option("--urgency", options->urgency, "the more urgent goes first on every link")
      ->check(CLI::IsMember(kUrgencies))
      ->capture_default_str();
  app->add_option("--lifespan", options->lifespan, "nobody gets it later, such as 500ms or 2s")->check(check_ms);
  app->add_flag("--causal", options->causal,
                "heard nowhere before the causal messages that this node's subscriptions had heard");
  app->add_option("--once", options->once, "an id of 32 hex digits: published again with it, it is not heard again");
  CLI::Option* bounds = app->add_option("--bounds", options->bounds, "LOW:HIGH of the number (--private)");
  app->add_option("--private", options->epsilon,
                  "the message is a number: publish it with noise of this epsilon, from the topic's privacy budget")
      ->needs(bounds);
  commands.on(app, [options, app]() -> Status {
    json::Object request{{"op", "pub"},
                         {"topic", options->place},
                         {"payload", options->value},
                         {"retain", options->retain},
                         {"depth", options->depth},
                         {"reliable", !options->best_effort}};
    if (options->wait_for_all) request["wait_for_all"] = true;
    if (options->causal) request["causal"] = true;
    request["priority"] = kUrgencies.at(options->urgency);
    if (!options->lifespan.empty()) request["lifespan_ms"] = parse_ms(options->lifespan);
    if (!options->once.empty()) request["once"] = options->once;
    if (app->count("--private") > 0) {
      SEDGE_TRY(const auto range, parse_bounds(options->bounds));
      request["epsilon"] = options->epsilon;
      request["low"] = range.first;
      request["high"] = range.second;
    }
    return stream(*options, request);
  });
}

void add_sub(Commands& commands) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* app = command(commands, *options, "sub", "Follow messages", "sedge sub 'robot/+/telemetry' --deadline 2s",
                          "filter", "topic or filter");
  app->add_option("--count", options->count, "end after this many; 0: never");
  app->add_option("--deadline", options->deadline,
                  "say when a topic that was heard is not heard again within this, such as 500ms or 2s")
      ->check(check_ms);
  app->add_flag("--liveliness", options->liveliness, "say when a publisher comes or goes");
  commands.on(app, [options] {
    json::Object request{{"op", "sub"}, {"filter", options->place}, {"liveliness", options->liveliness}};
    if (!options->deadline.empty()) request["deadline_ms"] = parse_ms(options->deadline);
    return stream(*options, request);
  });
}

void add_leader(Commands& commands) {
  auto options = std::make_shared<StateOptions>();
  CLI::App* app = commands.add(commands.root(), "leader", "Who leads the fleet, and in which term", "sedge leader");
  app->add_option("--home", options->home, "folder of the node")->capture_default_str();
  app->add_flag("--json", options->json, "one JSON object");
  commands.on(app, [options]() -> Status {
    SEDGE_TRY(const json::Object lead, ask_once(options->home, {{"op", "leader"}}));
    if (options->json) {
      fmt::print("{}\n", json::write(lead));
      return {};
    }
    SEDGE_TRY(const std::uint64_t term, json::get_uint(lead, "term"));
    const auto leader = json::get_string(lead, "leader");
    if (!leader) return fail(Code::kUnavailable, "nobody leads, as far as this node knows: try again in 2 s");
    fmt::print("{} (term {})\n", *leader, term);
    return {};
  });
}

struct AverageOptions {
  std::string home = default_home();
  std::string name;
  double value = 0;
  std::string window = "5s";
  bool json = false;
};

void add_average(Commands& commands) {
  auto options = std::make_shared<AverageOptions>();
  CLI::App* app =
      commands.add(commands.root(), "average", "The mean, sum and count of what each node that calls this says",
                   "sedge average field/moisture 0.31");
  app->add_option("--home", options->home, "folder of the node")->capture_default_str();
  app->add_option("name", options->name, "of what, as a topic: the same at all who take part")->required();
  app->add_option("value", options->value, "this node's own")->required();
  app->add_option("--window", options->window, "it takes so long; others may join in its first half")
      ->check(check_ms)
      ->capture_default_str();
  app->add_flag("--json", options->json, "one JSON object");
  commands.on(app, [options]() -> Status {
    SEDGE_TRY(const json::Object line, ask_once(options->home, {{"op", "average"},
                                                                {"name", options->name},
                                                                {"value", options->value},
                                                                {"window_ms", parse_ms(options->window)}}));
    if (options->json) {
      fmt::print("{}\n", json::write(line));
      return {};
    }
    SEDGE_TRY(const double mean, json::get_double(line, "mean"));
    SEDGE_TRY(const double sum, json::get_double(line, "sum"));
    SEDGE_TRY(const std::uint64_t count, json::get_uint(line, "count"));
    fmt::print("mean {:.6g} of {} nodes, sum {:.6g}\n", mean, count, sum);
    return {};
  });
}

}  // namespace

void add_state(Commands& commands) {
  add_set(commands);
  add_leader(commands);
  add_average(commands);
  add_reader(commands, "get", "Read entries; + and # choose several", "sedge get 'field/#'", "path", "path or filter");
  add_reader(commands, "watch", "Follow entries as they change", "sedge watch 'field/#'", "filter", "path or filter");
  add_pub(commands);
  add_sub(commands);
}

}  // namespace sedge::apps
