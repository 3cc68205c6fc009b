#include "sim/scenario.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace sedge::sim {

namespace {

constexpr Duration kWritePause = 1s;  // of each node
constexpr Duration kStep = 50ms;
constexpr Duration kSettle = 30s;      // limit for coming to one view again
constexpr Duration kAfterSplit = 20s;  // verdicts of the split still travel

class Story {
 public:
  explicit Story(const ScenarioOptions& options)
      : options_(options), prng_(options.seed ^ 0x57025EED), world_(world_options(options)), got_(options.nodes) {}

  Result<ScenarioReport> tell();

 private:
  static WorldOptions world_options(const ScenarioOptions& options) {
    WorldOptions world;
    world.nodes = options.nodes;
    world.seed = options.seed;
    world.link = options.link;
    return world;
  }
  Instant moment(double fraction) const {
    return Instant{} + Duration(static_cast<std::int64_t>(static_cast<double>(options_.length.count()) * fraction));
  }
  void chapter(std::string_view what) const {
    if (options_.chapter) options_.chapter(world_.now(), what);
  }
  std::size_t anybody() { return prng_.below(options_.nodes); }
  bool converged() const { return world_.one_view() && world_.one_state(); }

  Status boot(std::size_t i);
  void work_until(Instant end, const std::function<bool()>& reached = {});
  void write(std::size_t i);
  void publish(std::size_t i);
  Status lose_and_return();
  void split_and_heal();
  void look_over();
  std::optional<Duration> time_to(const std::function<bool()>& reached, Instant since, Instant limit);

  const ScenarioOptions& options_;
  Prng prng_;
  World world_;
  ScenarioReport report_;
  std::map<std::string, std::string> acknowledged_;  // path -> value
  std::vector<std::map<std::string, std::size_t>> got_;
  std::uint64_t number_ = 0;
  struct Excuse {  // for calling somebody dead: it was, or nobody could know
    Instant from{}, to{};
    std::optional<std::size_t> whom;  // none: anybody
  };
  std::vector<Excuse> excuses_;
  Instant next_work_{};
};

Status Story::boot(std::size_t i) {
  SEDGE_CHECK(world_.boot(i));
  Status subscribed;
  world_.act(i, [&](node::Node& node, Instant) {
    const auto id = node.subscribe("sim/#", [this, i](const mesh::Message& message) { ++got_[i][message.topic]; });
    if (!id) subscribed = std::unexpected(id.error());
  });
  return subscribed;
}

void Story::write(std::size_t i) {
  const std::string path = fmt::format("sim/{}/{}", i, number_ % 7);
  const std::string value = std::to_string(++number_);
  world_.act(i, [&](node::Node& node, Instant now) {
    const auto ticket = node.state().set(path, to_buffer(as_bytes(value)), now);
    node.when_durable(ticket, [this, path, value](const Status& status) {
      if (!status) return;
      ++report_.writes_acknowledged;
      acknowledged_[path] = value;  // only node i writes there, one after the other
    });
  });
}

void Story::publish(std::size_t i) {
  ++report_.messages;
  const std::string topic = fmt::format("sim/{}", ++number_);
  world_.act(i, [&](node::Node& node, Instant now) {
    node.publish(topic, as_bytes("telemetry"), {}, false, [](const Status&) {}, now);
  });
}

// Everybody writes and publishes about once a second.
void Story::work_until(Instant end, const std::function<bool()>& reached) {
  while (world_.now() < end && !(reached && reached())) {
    world_.run(std::min(kStep, end - world_.now()));
    for (; next_work_ <= world_.now(); next_work_ += kWritePause / static_cast<std::int64_t>(2 * options_.nodes)) {
      const std::size_t i = anybody();
      if (!world_.up(i)) continue;
      prng_.chance(0.5) ? write(i) : publish(i);
    }
  }
}

std::optional<Duration> Story::time_to(const std::function<bool()>& reached, Instant since, Instant limit) {
  while (!reached()) {
    if (world_.now() >= limit) return std::nullopt;
    world_.run(10ms);
  }
  return world_.now() - since;
}

Status Story::lose_and_return() {
  const std::size_t victim = anybody();
  chapter(fmt::format("SIGKILL of node-{}", victim));
  const Instant killed = world_.now();
  world_.kill(victim);
  report_.detection = time_to([&] { return world_.one_view(); }, killed, killed + 10s);
  work_until(moment(0.4));
  chapter(fmt::format("node-{} comes back", victim));
  const Instant back = world_.now();
  excuses_.push_back({killed, back, victim});
  SEDGE_CHECK(boot(victim));
  report_.converged_after_rejoin = time_to([&] { return converged(); }, back, back + kSettle);
  return {};
}

void Story::split_and_heal() {
  std::set<std::size_t> side;
  while (side.size() < options_.nodes / 3 + 1 && side.size() + 1 < options_.nodes) side.insert(anybody());
  chapter(fmt::format("{} nodes are cut off", side.size()));
  const Instant split = world_.now();
  world_.partition(side);
  work_until(moment(0.75));
  world_.heal();
  chapter("the split is over");
  const Instant healed = world_.now();
  report_.converged_after_heal = time_to([&] { return converged(); }, healed, healed + kSettle);
  excuses_.push_back({split, healed + kAfterSplit, {}});
}

void Story::look_over() {
  report_.converged_at_end = time_to([&] { return converged(); }, world_.now(), world_.now() + kSettle).has_value();
  for (const auto& [path, value] : acknowledged_) {
    for (std::size_t i = 0; i < options_.nodes; ++i) {
      const auto there = world_.node(i).state().replica().read(path);
      if (there && there->values.size() == 1 && as_text(there->values[0]) == value) continue;
      ++report_.writes_lost;
      break;
    }
  }
  for (const auto& topics : got_) {
    for (const auto& [topic, times] : topics) {
      report_.deliveries += times;
      report_.delivered_twice += times - 1;
    }
  }
  for (const SeenEvent& seen : world_.member_events()) {
    if (seen.event.kind != mesh::MemberEvent::Kind::kDown) continue;
    const auto within = [&](const Excuse& e) {
      return seen.at >= e.from && seen.at <= e.to && (!e.whom || seen.event.id == world_.id(*e.whom));
    };
    report_.false_deaths += std::ranges::none_of(excuses_, within) ? 1 : 0;
  }
  report_.counts = world_.counts();
  report_.bytes_per_node_per_s = static_cast<double>(report_.counts.bytes) / static_cast<double>(options_.nodes) /
                                 to_seconds(world_.now() - Instant{});
  report_.trace = world_.trace();
}

Result<ScenarioReport> Story::tell() {
  chapter(fmt::format("{} nodes start", options_.nodes));
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    SEDGE_CHECK(boot(i));
    world_.run(Duration(1'000'000'000) / static_cast<std::int64_t>(options_.nodes));
  }
  report_.converged = time_to([&] { return converged(); }, Instant{}, Instant{} + kSettle);
  next_work_ = world_.now();
  chapter("everybody works");
  work_until(moment(0.25));
  SEDGE_CHECK(lose_and_return());
  work_until(moment(0.5));
  const std::size_t slow = anybody();
  chapter(fmt::format("node-{} stalls for 1.2 s", slow));
  world_.stall(slow, 1200ms);
  work_until(moment(0.6));
  split_and_heal();
  work_until(moment(1));
  chapter("looking it over");
  look_over();
  return report_;
}

}  // namespace

bool ScenarioReport::good() const {
  return converged && detection && *detection <= 3s && converged_after_rejoin && converged_after_heal &&
         converged_at_end && false_deaths == 0 && writes_lost == 0 && delivered_twice == 0;
}

Result<ScenarioReport> play(const ScenarioOptions& options) {
  if (options.nodes < 2 || options.nodes > 500) {
    return fail(Code::kInvalidArgument, "--nodes {}: a simulated fleet has 2 to 500 nodes", options.nodes);
  }
  if (options.length < 20s) {
    return fail(Code::kInvalidArgument, "--seconds {}: the story needs at least 20", to_seconds(options.length));
  }
  if (!(options.link.loss >= 0 && options.link.loss <= 0.5)) {
    return fail(Code::kInvalidArgument, "--loss {}: between 0 and 0.5", options.link.loss);
  }
  return std::make_unique<Story>(options)->tell();
}

json::Value to_json(const ScenarioOptions& options, const ScenarioReport& report) {
  const auto ms = [](const std::optional<Duration>& time) {
    return time ? json::Value(to_ms(*time)) : json::Value(nullptr);
  };
  return json::Object{{"nodes", options.nodes},
                      {"seed", options.seed},
                      {"seconds", to_seconds(options.length)},
                      {"loss", options.link.loss},
                      {"converged_ms", ms(report.converged)},
                      {"detection_ms", ms(report.detection)},
                      {"converged_after_rejoin_ms", ms(report.converged_after_rejoin)},
                      {"converged_after_heal_ms", ms(report.converged_after_heal)},
                      {"converged_at_end", report.converged_at_end},
                      {"false_deaths", report.false_deaths},
                      {"writes_acknowledged", report.writes_acknowledged},
                      {"writes_lost", report.writes_lost},
                      {"messages", report.messages},
                      {"deliveries", report.deliveries},
                      {"delivered_twice", report.delivered_twice},
                      {"bytes_per_node_per_s", report.bytes_per_node_per_s},
                      {"dials", report.counts.dials},
                      {"frames", report.counts.frames},
                      {"datagrams", report.counts.datagrams},
                      {"trace", fmt::format("{:016x}", report.trace)},
                      {"good", report.good()}};
}

}  // namespace sedge::sim
