#include "sim/play.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <ranges>
#include <set>
#include <tuple>

#include "sim/agreeing.h"
#include "sim/samples.h"
#include "sim/verdicts.h"
#include "sim/watch.h"

namespace sedge::sim {
namespace {

constexpr Duration kDeliveryTime = 10s;  // a node that ran so long after a message was published should have it
constexpr Duration kLastTime = 3s;       // for the last messages to arrive
constexpr std::string_view kCounter = "sim/count";
constexpr std::string_view kBriefly = "brief/";  // entries that are soon erased
constexpr std::size_t kBrieflyKept = 3;          // by each node, before it erases them
constexpr std::int64_t kWeighings = 120;         // of how much each node holds, over the scenario
constexpr Duration kSteadyTime = 10s;            // a node that ran so long has a fleet clock
constexpr std::size_t kBeginningsMax = 100;      // of ways through the graph of links: in a larger fleet, so many
constexpr std::size_t kPairsMax = 20'000;        // looked at, of those without a link

class Play {
 public:
  Play(const Scenario& scenario, const PlayOptions& options)
      : scenario_(scenario),
        options_(options),
        prng_(scenario.seed ^ 0x57025EED),
        world_(world_options(scenario), options.trace),
        watch_(scenario.nodes),
        verdicts_(scenario.nodes),
        agreeing_(scenario.seed ^ 0xA62EEDULL) {}

  Result<Report> run();

 private:
  struct Message {
    Instant at{};
    std::size_t by = 0;
    bool reliable = false, taken = false;
    std::vector<bool> got;
  };
  static WorldOptions world_options(const Scenario& scenario) {
    WorldOptions world = scenario.world;
    world.nodes = scenario.nodes;
    world.seed = scenario.seed;
    return world;
  }
  Instant moment(Duration at) const { return formed_ + at; }
  void chapter(const std::string& what) {
    if (options_.chapter) options_.chapter(world_.now(), what);
    if (options_.pictures) report_.chapters.emplace_back(to_seconds(world_.now() - Instant{}), what);
  }
  bool one() const { return world_.one_view() && world_.one_state(); }

  Status boot(std::size_t i);
  void may_come_again(std::size_t i);
  Status form();
  void work_until(Instant end);
  void pass(Duration time);
  void sample();
  void work(const Load& load, std::size_t i);
  void write(std::size_t i, std::size_t bytes);
  void write_briefly(std::size_t i, std::size_t bytes);
  void weigh();
  void publish(std::size_t i, const Load& load);
  void hear(std::size_t i, const mesh::Message& message);
  Status happen(const Happening& happening);
  std::vector<std::size_t> choose(const Happening& happening);
  std::optional<Duration> settle();
  void look_at_clocks();
  void take_stops();
  void cut(const Happening& happening, const std::vector<std::size_t>& who);
  void look_over();
  void look_at_writes();
  void look_at_erased();
  void look_at_held();
  void look_at_messages();
  void look_at_deaths();
  void look_at_agreed();
  void look_at_round_trips();
  void look_at_discovery();
  void look_at_queues();
  void look_at_order();
  void look_at_links();
  void look_at_expectations();
  void tell(std::string name, std::optional<double> value) { report_.metrics.emplace_back(std::move(name), value); }
  template <class... Args>
  void broken(fmt::format_string<Args...> format, Args&&... args) {
    report_.broken.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  const Scenario& scenario_;
  const PlayOptions& options_;
  Prng prng_;
  World world_;
  Watch watch_;
  Verdicts verdicts_;
  Agreeing agreeing_;
  Report report_;
  Instant formed_{};
  struct Turn {  // when a load is next done, and by whom; nobody: drawn then
    Instant at{};
    std::size_t load = 0;
    std::optional<std::size_t> node;
    friend auto operator<=>(const Turn& a, const Turn& b) {
      return std::tie(a.at, a.load, a.node) <=> std::tie(b.at, b.load, b.node);
    }
  };
  std::set<Turn> turns_;
  std::vector<Message> messages_;
  std::uint64_t reliable_ = 0, refused_ = 0;
  std::vector<std::uint64_t> writes_of_;
  std::uint64_t writes_acknowledged_ = 0, delivered_twice_ = 0;
  std::int64_t counted_ = 0, counted_at_most_ = 0;  // acknowledged, and begun
  std::vector<std::vector<bool>> erased_;           // by node and number: the erasing was acknowledged
  struct Held {
    Instant at{};
    std::size_t writes = 0;  // of the node that holds most
  };
  std::vector<Held> held_;
  Instant next_weighing_{};
  std::set<std::size_t> slow_;      // whose links an event has slowed
  Samples latency_, fast_latency_;  // of all; of the others, once there is such an event
  Samples clock_;
  std::optional<Duration> forming_, rejoin_, heal_, converged_;
  std::size_t stops_ = 0;  // of nodes whose disk failed, so far
  Instant next_sample_{};
  std::uint64_t bytes_sampled_ = 0;
};

// Lets time pass, with a look at the fleet every second of it.
void Play::pass(Duration time) {
  const Instant end = world_.now() + time;
  while (next_sample_ <= end) {
    world_.run(std::max(next_sample_, world_.now()) - world_.now());
    if (options_.pictures) sample();
    look_at_clocks();
    for (std::string& what : watch_.look(world_)) {
      report_.broken.push_back(fmt::format("at {:.0f} s: {}", to_seconds(world_.now() - Instant{}), std::move(what)));
    }
    next_sample_ = world_.now() + 1s;
  }
  world_.run(end - world_.now());
  take_stops();
}

// How far each fleet clock is from the median of all.
void Play::look_at_clocks() {
  std::vector<std::int64_t> clocks;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    const std::optional<Instant> since = verdicts_.up_since(i);
    if (!since || *since + kSteadyTime > world_.now() || !world_.up(i)) continue;
    if (const auto us = world_.fleet_us(i)) clocks.push_back(static_cast<std::int64_t>(*us));
  }
  if (clocks.empty()) return;
  std::ranges::sort(clocks);
  const std::int64_t median = clocks[clocks.size() / 2];
  for (const std::int64_t us : clocks) clock_.add(std::abs(us - median) * 1us);
}

// Who has ended by itself since we last looked.
void Play::take_stops() {
  for (; stops_ < world_.stops().size(); ++stops_) {
    const Stop& stop = world_.stops()[stops_];
    chapter(fmt::format("node-{} stops: {}", stop.node, stop.why.message));
    verdicts_.ended(stop.node, stop.at);
    verdicts_.parted(world_);
  }
}

// How much is held, by the node that holds most.
void Play::weigh() {
  std::size_t writes = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (world_.up(i)) writes = std::max(writes, world_.node(i).state().replica().living().size());
  }
  held_.push_back({world_.now(), writes});
  next_weighing_ = world_.now() + scenario_.length / kWeighings;
}

void Play::sample() {
  std::map<std::uint64_t, std::size_t> views;
  std::map<crdt::Digest, std::size_t> states;
  std::size_t running = 0, same_view = 0, same_state = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (!world_.up(i)) continue;
    ++running;
    same_view = std::max(same_view, ++views[world_.node(i).membership().digest()]);
    same_state = std::max(same_state, ++states[world_.node(i).state().digest()]);
  }
  const double all = std::max(1.0, static_cast<double>(running));
  const double seconds = to_seconds(world_.now() - Instant{});
  const double passed = report_.samples.empty() ? 1 : seconds - report_.samples.back().seconds;
  const std::uint64_t bytes = world_.counts().bytes - bytes_sampled_;
  bytes_sampled_ += bytes;
  report_.samples.push_back({.seconds = seconds,
                             .same_view = static_cast<double>(same_view) / all,
                             .same_state = static_cast<double>(same_state) / all,
                             .bytes_per_node_per_s = static_cast<double>(bytes) / all / std::max(passed, 1e-3)});
}

// What was published so shortly before a node's start may come to it again (docs/formats/broadcast.md, "Once").
void Play::may_come_again(std::size_t i) {
  constexpr Duration kSlack = 500ms;
  for (Message& message : std::views::reverse(messages_)) {
    if (world_.now() - message.at > kSlack) return;
    message.got[i] = false;
  }
}

Status Play::boot(std::size_t i) {
  SEDGE_CHECK(world_.boot(i));
  may_come_again(i);
  verdicts_.booted(i, world_.now());
  verdicts_.parted(world_);
  Status subscribed;
  world_.act(i, [&](node::Node& node, Instant now) {
    const auto id = node.subscribe("sim/#", [this, i](const mesh::Message& message) { hear(i, message); }, {}, now);
    if (!id) subscribed = std::unexpected(id.error());
  });
  return subscribed;
}

void Play::hear(std::size_t i, const mesh::Message& message) {
  std::uint64_t number = 0;
  const auto* const begin = reinterpret_cast<const char*>(message.payload.data());
  std::from_chars(begin, begin + std::min<std::size_t>(message.payload.size(), 16), number, 16);
  if (number >= messages_.size()) return;
  Message& sent = messages_[number];
  if (sent.got[i]) {
    delivered_twice_ += 1;
    return;
  }
  sent.got[i] = true;
  if (!sent.reliable) return;
  latency_.add(world_.now() - sent.at);
  if (!slow_.empty() && !slow_.contains(i)) fast_latency_.add(world_.now() - sent.at);
}

constexpr std::uint64_t kLogKeeps = 16;

// Every kind in turn: a register of its own, the fleet's counter, a register that all write, an element of a set, a
// log.
void Play::write(std::size_t i, std::size_t bytes) {
  const std::uint64_t number = ++writes_of_[i];
  std::string path = fmt::format("sim/{}/{}", i, number % 7);
  std::string value = fmt::format("{:016x}", number);
  value.resize(std::max(bytes, value.size()), '.');
  const auto element = to_buffer(as_bytes(fmt::format("{}-{}", i, number % 5)));
  world_.act(i, [&](node::Node& node, Instant now) {
    mesh::StateSync& state = node.state();
    const bool counts = number % 4 == 1;
    const Result<mesh::Ticket> ticket = counts            ? state.add(kCounter, 1, now)
                                        : number % 8 == 6 ? state.append("sim/log", element, kLogKeeps, now)
                                        : number % 4 == 2 ? state.set("sim/shared", to_buffer(as_bytes(value)), now)
                                        : number % 8 == 3 ? state.insert("sim/set", element, now)
                                        : number % 8 == 7 ? state.remove("sim/set", element, now)
                                                          : state.set(path, to_buffer(as_bytes(value)), now);
    counted_at_most_ += counts && ticket ? 1 : 0;
    node.when_durable(ticket, [this, i, path, value, counts, own = number % 4 == 0](const Status& status) {
      if (!status) return;
      ++writes_acknowledged_;
      counted_ += counts ? 1 : 0;
      if (own) watch_.acknowledged(i, path, value);  // only node i writes there, one after the other
    });
  });
}

// A path of its own each time, erased a few turns later.
void Play::write_briefly(std::size_t i, std::size_t bytes) {
  const std::size_t number = erased_[i].size();
  erased_[i].push_back(false);
  const auto path_of = [i](std::size_t n) { return fmt::format("{}{}/{}", kBriefly, i, n); };
  const std::string value(std::max<std::size_t>(bytes, 16), 'b');
  world_.act(i, [&](node::Node& node, Instant now) {
    node.when_durable(node.state().set(path_of(number), to_buffer(as_bytes(value)), now),
                      [this, i, path = path_of(number), value](const Status& status) {
                        if (!status) return;
                        ++writes_acknowledged_;
                        watch_.acknowledged(i, path, value);
                      });
    if (number < kBrieflyKept) return;
    const std::size_t old = number - kBrieflyKept;
    watch_.let_go(i, path_of(old));
    node.when_durable(node.state().set(path_of(old), std::nullopt, now),
                      [this, i, old, path = path_of(old)](const Status& status) {
                        writes_acknowledged_ += status ? 1 : 0;
                        erased_[i][old] = status.has_value();
                        if (status) watch_.erased(i, path);
                      });
  });
}

void Play::publish(std::size_t i, const Load& load) {
  const bool reliable = load.work == Work::kBroadcast;
  std::string payload = fmt::format("{:016x}", messages_.size());
  payload.resize(std::max(load.bytes, payload.size()), '.');
  messages_.push_back({world_.now(), i, reliable, false, std::vector<bool>(scenario_.nodes)});
  bool taken = false;
  world_.act(i, [&](node::Node& node, Instant now) {
    node.publish(
        reliable ? "sim/order" : "sim/telemetry", as_bytes(payload), {.reliable = reliable}, false,
        [&taken](const Status& status) { taken = status.has_value(); }, now);
  });
  messages_.back().taken = taken;
  reliable_ += reliable && taken ? 1 : 0;
  refused_ += reliable && !taken ? 1 : 0;
}

void Play::work(const Load& load, std::size_t i) {
  if (!world_.up(i)) return;
  if (load.work == Work::kWrite) return write(i, load.bytes);
  if (load.work == Work::kAgree) return agreeing_.ask(world_, i);
  load.work == Work::kEphemeral ? write_briefly(i, load.bytes) : publish(i, load);
}

// The loads and nothing else, until then.
void Play::work_until(Instant end) {
  while (!turns_.empty() && turns_.begin()->at < end) {
    Turn turn = *turns_.begin();
    turns_.erase(turns_.begin());
    pass(std::max(turn.at, world_.now()) - world_.now());
    if (world_.now() >= next_weighing_) weigh();
    const Load& load = scenario_.loads[turn.load];
    const auto draw = [&] {
      return load.by.empty() ? prng_.below(scenario_.nodes) : load.by[prng_.below(load.by.size())];
    };
    work(load, turn.node ? *turn.node : draw());
    turn.at = std::max(turn.at, world_.now()) + load.every;
    if (load.to == Duration::max() || turn.at < moment(load.to)) turns_.insert(turn);
  }
  pass(std::max(end, world_.now()) - world_.now());
}

std::optional<Duration> Play::settle() {
  const Instant since = world_.now();
  const Duration step = scenario_.nodes <= 100 ? 10ms : 100ms;
  while (!one()) {
    if (world_.now() - since >= scenario_.settle_max) return std::nullopt;
    pass(step);
  }
  return world_.now() - since;
}

// Those named, or drawn among those it can be done to.
std::vector<std::size_t> Play::choose(const Happening& happening) {
  if (!happening.who.named.empty()) return happening.who.named;
  const bool down = happening.deed == Deed::kBoot;
  std::vector<std::size_t> fit;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (world_.up(i) != down) fit.push_back(i);
  }
  std::size_t count = happening.who.drawn;
  if (happening.who.share > 0) {
    count =
        std::max<std::size_t>(1, static_cast<std::size_t>(happening.who.share * static_cast<double>(scenario_.nodes)));
  }
  if (count == 0) count = down ? fit.size() : 1;
  prng_.shuffle(fit);
  fit.resize(std::min(fit.size(), count));
  std::ranges::sort(fit);
  return fit;
}

// One direction each.
void Play::cut(const Happening& happening, const std::vector<std::size_t>& who) {
  if (happening.pairs > 0) {
    chapter(fmt::format("{} pairs cut, one direction each", happening.pairs));
    for (std::size_t pair = 0; pair < happening.pairs; ++pair) {
      const std::size_t from = prng_.below(scenario_.nodes);
      world_.cut(from, (from + 1 + prng_.below(scenario_.nodes - 1)) % scenario_.nodes);
    }
    return;
  }
  chapter(fmt::format("{} nodes heard by {}", who.size(), happening.to.empty() ? "nobody" : "some no longer"));
  for (const std::size_t from : who) {
    for (const std::size_t to : happening.to) world_.cut(from, to);
    for (std::size_t to = 0; happening.to.empty() && to < scenario_.nodes; ++to) world_.cut(from, to);
  }
}

Status Play::happen(const Happening& happening) {
  const std::vector<std::size_t> who = choose(happening);
  const std::string whom = who.size() == 1 ? fmt::format("node-{}", who[0]) : fmt::format("{} nodes", who.size());
  const Instant now = world_.now();
  switch (happening.deed) {
    case Deed::kKill:
    case Deed::kPower:
      chapter(fmt::format("{} of {}", happening.deed == Deed::kKill ? "SIGKILL" : "power cut", whom));
      for (const std::size_t i : who) {
        if (!world_.up(i)) continue;
        verdicts_.ended(i, now);
        happening.deed == Deed::kKill ? world_.kill(i) : world_.cut_power(i);
      }
      verdicts_.parted(world_);
      break;
    case Deed::kBoot:
      chapter(fmt::format("{} come back", whom));
      for (const std::size_t i : who) {
        if (!world_.up(i)) SEDGE_CHECK(boot(i));
      }
      break;
    case Deed::kStall:
      chapter(fmt::format("{} stalled for {:.1f} s", whom, to_seconds(happening.time)));
      for (const std::size_t i : who) {
        const Duration more = std::max(happening.time_max - happening.time, Duration::zero());
        const Duration time =
            happening.time +
            Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(more.count()) + 1)));
        world_.stall(i, time);
        verdicts_.stalled(i, now, time);
      }
      break;
    case Deed::kSlow:
      chapter(fmt::format("links of {} carry {:.0f} bytes/s", whom, happening.bytes_per_s));
      for (const std::size_t i : who) world_.slow(i, happening.bytes_per_s);
      slow_.insert(who.begin(), who.end());
      break;
    case Deed::kDisk:
      chapter(fmt::format("the disk of {} begins to fail", whom));
      for (const std::size_t i : who) world_.break_disk(i, prng_.below(happening.changes));
      break;
    case Deed::kPartition:
      chapter(fmt::format("{} cut off", whom));
      world_.partition({who.begin(), who.end()});
      verdicts_.parted(world_);
      break;
    case Deed::kCut:
      cut(happening, who);
      verdicts_.parted(world_);
      break;
    case Deed::kHeal:
      chapter("all cuts healed");
      world_.heal();
      verdicts_.parted(world_);
      break;
  }
  if (!happening.settle) return {};
  const std::optional<Duration> time = settle();
  std::optional<Duration>& longest = happening.deed == Deed::kBoot ? rejoin_ : heal_;
  if (time) longest = std::max(longest.value_or(Duration::zero()), *time);
  if (!time)
    broken("not one view and one state {:.0f} s after the event at {} s", to_seconds(scenario_.settle_max),
           to_seconds(happening.at));
  return {};
}

Status Play::form() {
  chapter(fmt::format("{} nodes start", scenario_.nodes));
  writes_of_.resize(scenario_.nodes);
  erased_.resize(scenario_.nodes);
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    SEDGE_CHECK(boot(i));
    pass(scenario_.boot_time / static_cast<std::int64_t>(scenario_.nodes));
  }
  if (settle()) forming_ = world_.now() - Instant{};
  if (!forming_) broken("the fleet did not form within {:.0f} s", to_seconds(scenario_.settle_max));
  formed_ = world_.now();
  for (std::size_t l = 0; l < scenario_.loads.size(); ++l) {
    const Load& load = scenario_.loads[l];
    const auto draw = [&] {
      return moment(load.from) +
             Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(load.every.count()))));
    };
    if (!load.each) turns_.insert({draw(), l, std::nullopt});
    for (std::size_t i = 0; load.each && i < scenario_.nodes; ++i) {
      if (load.by.empty() || std::ranges::find(load.by, i) != load.by.end()) turns_.insert({draw(), l, i});
    }
  }
  return {};
}

// Acknowledged is for ever: on every node that runs in the end.
void Play::look_at_writes() {
  std::size_t lost = 0;
  const auto look = [&](const std::string& path, const std::string& value) {
    for (std::size_t i = 0; i < scenario_.nodes; ++i) {
      if (!world_.up(i)) continue;
      const auto there = world_.node(i).state().replica().read(path);
      // A later write whose acknowledgement the crash took away is no loss.
      const bool kept = there && there->values.size() == 1 && as_text(there->values[0]) >= value;
      if (kept) continue;
      ++lost;
      if (lost <= 3) broken("the acknowledged write of {} is not on node-{}", path, i);
      return;
    }
  };
  for (std::size_t by = 0; by < scenario_.nodes; ++by) {
    for (const auto& [path, value] : watch_.kept(by)) look(path, value);
  }
  for (std::size_t i = 0; i < scenario_.nodes && counted_at_most_ > 0; ++i) {
    if (!world_.up(i)) continue;
    const auto counter = world_.node(i).state().replica().read(kCounter);
    const std::int64_t total = counter ? counter->total : 0;
    if (total >= counted_ && total <= counted_at_most_) continue;
    ++lost;
    broken("node-{} counts {}, {} were acknowledged and {} begun", i, total, counted_, counted_at_most_);
    break;
  }
  tell("writes_acknowledged", static_cast<double>(writes_acknowledged_));
  tell("writes_lost", static_cast<double>(lost));
}

// Erased is for ever as well.
void Play::look_at_erased() {
  std::size_t back = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    for (std::size_t n = 0; n < scenario_.nodes && world_.up(i); ++n) {
      if (erased_[n].empty()) continue;
      const std::string prefix = fmt::format("{}{}/", kBriefly, n);
      world_.node(i).state().replica().for_each(prefix, [&](const std::string& path, const crdt::Value&) {
        std::size_t number = 0;
        std::from_chars(path.data() + prefix.size(), path.data() + path.size(), number);
        if (number >= erased_[n].size() || !erased_[n][number]) return;
        if (++back <= 3) broken("{} was erased and is on node-{}", path, i);
      });
    }
  }
  tell("erased_back", static_cast<double>(back));
}

void Play::look_at_held() {
  std::size_t writes = 0, bytes = 0, tombstones = 0, records = 0;
  std::uint64_t collected = 0, reset = 0, revived = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (!world_.up(i)) continue;
    const mesh::StateSync& state = world_.node(i).state();
    writes = std::max(writes, state.replica().living().size());
    bytes = std::max(bytes, state.replica().bytes());
    tombstones = std::max(tombstones, state.replica().tombstones());
    records = std::max(records, world_.records(i, mesh::kStateOpBucket).value_or(0));
    collected += state.stats().collected;
    reset += state.stats().reset;
    revived += state.stats().revived;
  }
  // Of the middle third of the scenario, and of its last third.
  std::size_t middle = 0, last = 0;
  for (const Held& held : held_) {
    const auto third = (held.at - formed_) * 3 / scenario_.length;
    if (third == 1) middle = std::max(middle, held.writes);
    if (third == 2) last = std::max(last, held.writes);
  }
  std::optional<double> growth;
  if (middle > 0) growth = static_cast<double>(last) / static_cast<double>(middle);
  tell("state_writes", static_cast<double>(writes));
  tell("state_bytes", static_cast<double>(bytes));
  tell("state_records", static_cast<double>(records));
  tell("state_growth", growth);
  tell("tombstones", static_cast<double>(tombstones));
  tell("tombstones_collected", static_cast<double>(collected));
  tell("writes_reset", static_cast<double>(reset));
  tell("writes_revived", static_cast<double>(revived));
}

void Play::look_at_messages() {
  struct {
    std::uint64_t expected = 0, delivered = 0;
  } reliable, telemetry, fast;
  for (std::size_t m = 0; m < messages_.size(); ++m) {
    if (!messages_[m].taken) continue;
    auto& count = messages_[m].reliable ? reliable : telemetry;
    const Instant from = messages_[m].at, to = std::min(from + kDeliveryTime, world_.now());
    if (!verdicts_.ran(messages_[m].by, from, to)) continue;  // what dies with its publisher was not on its way yet
    for (std::size_t i = 0; i < scenario_.nodes; ++i) {
      const bool counts = verdicts_.ran(i, from, to);
      count.expected += counts ? 1 : 0;
      count.delivered += counts && messages_[m].got[i] ? 1 : 0;
      if (!messages_[m].reliable || slow_.empty() || slow_.contains(i)) continue;
      fast.expected += counts ? 1 : 0;
      fast.delivered += counts && messages_[m].got[i] ? 1 : 0;
    }
  }
  std::uint64_t duplicates = 0, firsts = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (!world_.up(i)) continue;
    duplicates += world_.node(i).broadcast().stats().duplicates;
    firsts += world_.node(i).broadcast().stats().reliable;
  }
  const auto share = [](std::uint64_t part, std::uint64_t whole) -> std::optional<double> {
    if (whole == 0) return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  tell("messages", static_cast<double>(reliable_));
  tell("messages_refused", static_cast<double>(refused_));
  tell("delivered_fraction", share(reliable.delivered, reliable.expected));
  tell("telemetry_fraction", share(telemetry.delivered, telemetry.expected));
  tell("delivery_p50_ms", latency_.ms(0.5));
  tell("delivery_p99_ms", latency_.ms(0.99));
  tell("delivery_max_ms", latency_.ms(1));
  tell("fast_fraction", share(fast.delivered, fast.expected));
  tell("fast_p99_ms", fast_latency_.ms(0.99));
  tell("duplicates_per_node", share(duplicates, firsts));
  tell("delivered_twice", static_cast<double>(delivered_twice_));
  if (delivered_twice_ > 0) broken("{} messages were delivered twice", delivered_twice_);
}

void Play::look_at_deaths() {
  Judgement judgement = verdicts_.judge(world_);
  for (std::string& each : judgement.examples) report_.broken.push_back(std::move(each));
  tell("detection_p50_ms", judgement.detection.ms(0.5));
  tell("detection_p99_ms", judgement.detection.ms(0.99));
  tell("detection_max_ms", judgement.detection.ms(1));
  tell("detections_missed", static_cast<double>(judgement.unnoticed));
  tell("false_deaths", static_cast<double>(judgement.mistaken));
  tell("revival_p50_ms", judgement.revival.ms(0.5));
  tell("revival_p99_ms", judgement.revival.ms(0.99));
  tell("revival_max_ms", judgement.revival.ms(1));
}

void Play::look_at_agreed() {
  Agreeing::Outcome outcome = agreeing_.judge();
  if (outcome.unexplained) broken("no order of requests explains what was answered about {}", *outcome.unexplained);
  tell("agreed_asked", static_cast<double>(outcome.asked));
  tell("agreed_answered", static_cast<double>(outcome.answered));
  tell("agreed_p50_ms", outcome.took.ms(0.5));
  tell("agreed_p99_ms", outcome.took.ms(0.99));
}

// What the coordinates tell of those without a link, against the truth.
void Play::look_at_round_trips() {
  std::vector<double> errors;
  std::size_t pairs = 0;
  Prng prng(scenario_.seed ^ 0xD157A9CEULL);
  for (std::size_t tries = 0; tries < kPairsMax; ++tries) {
    const std::size_t a = prng.below(scenario_.nodes), b = prng.below(scenario_.nodes);
    if (a == b || !world_.up(a) || !world_.up(b) || world_.node(a).membership().linked(world_.id(b))) continue;
    ++pairs;
    const double told = to_ms(world_.node(a).membership().round_trip(world_.id(b)));
    const double real = to_ms(world_.round_trip(a, b));
    if (told > 0 && real > 0) errors.push_back(std::abs(told - real) / real);
  }
  std::ranges::sort(errors);
  const auto at = [&](double quantile) -> std::optional<double> {
    if (errors.empty()) return std::nullopt;
    return errors[static_cast<std::size_t>(quantile * static_cast<double>(errors.size() - 1))];
  };
  const auto known = static_cast<double>(errors.size()) / std::max(1.0, static_cast<double>(pairs));
  tell("rtt_known_fraction", pairs == 0 ? std::nullopt : std::optional(known));
  tell("rtt_error_p50", at(0.5));
  tell("rtt_error_p90", at(0.9));
}

void Play::look_at_discovery() {
  double all = 0, most = 0, found = 0;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    const auto bytes = world_.discovery_bytes(i);
    if (!bytes) continue;
    ++found;
    all += static_cast<double>(*bytes);
    most = std::max(most, static_cast<double>(*bytes));
  }
  tell("discovery_bytes_mean", found == 0 ? std::nullopt : std::optional(all / found));
  tell("discovery_bytes_max", found == 0 ? std::nullopt : std::optional(most));
}

void Play::look_at_queues() {
  const Queues& most = watch_.queues();
  tell("link_backlog_bytes_max", static_cast<double>(most.backlog_bytes));
  tell("batches_missing_max", static_cast<double>(most.missing));
  tell("batches_kept_bytes_max", static_cast<double>(most.cache_bytes));
  tell("quarantined_max", static_cast<double>(most.quarantined));
}

// Whatever way the writes took, they say the same: asked of one node, for all hold the same.
void Play::look_at_order() {
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (!world_.up(i)) continue;
    if (!same_in_any_order(world_.node(i).state().replica(), scenario_.seed)) {
      broken("node-{}'s writes say something else in another order", i);
    }
    return;
  }
}

// The graph of links between running nodes, as it is in the end.
void Play::look_at_links() {
  std::vector<std::vector<std::size_t>> links(scenario_.nodes);
  for (const auto& [a, b] : world_.links()) {
    links[a].push_back(b);
    links[b].push_back(a);
  }
  std::size_t running = 0, all = 0, most = 0, diameter = 0;
  bool whole = true;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    running += world_.up(i) ? 1 : 0;
    all += links[i].size();
    most = std::max(most, links[i].size());
  }
  const std::size_t every = std::max<std::size_t>(1, running / kBeginningsMax);
  for (std::size_t from = 0; from < scenario_.nodes; from += every) {
    if (!world_.up(from)) continue;
    std::vector<std::size_t> hops(scenario_.nodes, scenario_.nodes), reached{from};
    hops[from] = 0;
    for (std::size_t at = 0; at < reached.size(); ++at) {
      for (const std::size_t next : links[reached[at]]) {
        if (hops[next] < scenario_.nodes) continue;
        hops[next] = hops[reached[at]] + 1;
        reached.push_back(next);
      }
    }
    whole = whole && reached.size() == running;
    diameter = std::max(diameter, hops[reached.back()]);
  }
  tell("links_mean",
       running == 0 ? std::nullopt : std::optional(static_cast<double>(all) / static_cast<double>(running)));
  tell("links_max", static_cast<double>(most));
  tell("diameter", whole ? std::optional(static_cast<double>(diameter)) : std::nullopt);
}

void Play::look_at_expectations() {
  for (const Expectation& expectation : scenario_.expectations) {
    const std::optional<double> value = report_.metric(expectation.metric);
    const bool holds = value && (expectation.at_least ? *value >= expectation.bound : *value <= expectation.bound);
    if (holds) continue;
    broken("{} is {}, expected at {} {}", expectation.metric, value ? fmt::format("{:.6g}", *value) : "not there",
           expectation.at_least ? "least" : "most", expectation.bound);
  }
}

void Play::look_over() {
  chapter("looking it over");
  world_.gather();
  converged_ = settle();
  if (!converged_) broken("not one view and one state at the end");
  pass(kLastTime);
  const auto ms = [](const std::optional<Duration>& time) -> std::optional<double> {
    if (!time) return std::nullopt;
    return to_ms(*time);
  };
  tell("nodes", static_cast<double>(scenario_.nodes));
  tell("sim_seconds", to_seconds(world_.now() - Instant{}));
  tell("formed_ms", ms(forming_));
  tell("rejoin_ms", ms(rejoin_));
  tell("heal_ms", ms(heal_));
  tell("converged_ms", ms(converged_));
  look_at_writes();
  look_at_erased();
  look_at_order();
  look_at_held();
  look_at_queues();
  look_at_messages();
  look_at_deaths();
  look_at_agreed();
  tell("disk_stops", static_cast<double>(stops_));
  tell("clock_off_p99_ms", clock_.ms(0.99));
  tell("clock_off_max_ms", clock_.ms(1));
  look_at_round_trips();
  look_at_discovery();
  look_at_links();
  const Counts& counts = world_.counts();
  tell("bytes_per_node_per_s",
       static_cast<double>(counts.bytes) / static_cast<double>(scenario_.nodes) / to_seconds(world_.now() - Instant{}));
  tell("slow_links", static_cast<double>(counts.too_slow));
  tell("dials", static_cast<double>(counts.dials));
  tell("frames", static_cast<double>(counts.frames));
  tell("datagrams", static_cast<double>(counts.datagrams));
  tell("events", static_cast<double>(counts.events));
  look_at_expectations();
  if (options_.pictures) {
    report_.latencies_ms = latency_.all_ms();
    report_.links = world_.links();
    for (std::size_t i = 0; i < scenario_.nodes; ++i) {
      report_.node_bytes_per_s.push_back(static_cast<double>(world_.bytes_sent(i)) /
                                         to_seconds(world_.now() - Instant{}));
      report_.node_up.push_back(world_.up(i));
    }
  }
  tell("invariants_broken", static_cast<double>(report_.broken.size()));
  report_.trace = world_.trace();
}

Result<Report> Play::run() {
  SEDGE_CHECK(form());
  chapter("everybody works");
  world_.roam();
  if (scenario_.world.mobility.range_m > 0 || !scenario_.world.contacts.empty()) verdicts_.look_away(world_.now());
  for (const Happening& happening : timeline(scenario_)) {
    work_until(moment(happening.at));
    SEDGE_CHECK(happen(happening));
  }
  work_until(moment(scenario_.length));
  look_over();
  return report_;
}

}  // namespace

std::optional<double> Report::metric(std::string_view name) const {
  const auto found = std::ranges::find(metrics, name, [](const auto& row) -> const std::string& { return row.first; });
  return found == metrics.end() ? std::nullopt : found->second;
}

Result<Report> play(const Scenario& scenario, const PlayOptions& options) {
  SEDGE_CHECK(check_scenario(scenario));
  return std::make_unique<Play>(scenario, options)->run();
}

json::Value to_json(const Scenario& scenario, const Report& report) {
  json::Object object{{"scenario", scenario.name}, {"seed", scenario.seed}};
  for (const auto& [name, value] : report.metrics) {
    if (!value) {
      object[name] = nullptr;
    } else if (*value == std::floor(*value) && std::abs(*value) < 9e15) {
      object[name] = static_cast<std::int64_t>(*value);
    } else {
      object[name] = *value;
    }
  }
  object["trace_hash"] = fmt::format("{:016x}", report.trace);
  object["broken"] = json::Array(report.broken.begin(), report.broken.end());
  object["good"] = report.good();
  return object;
}

}  // namespace sedge::sim
