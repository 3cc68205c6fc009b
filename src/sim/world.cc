#include "sim/world_host.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/assert.h"
#include "trust/quorum.h"

namespace sedge::sim {

namespace {

__extension__ using Int128 = __int128;

constexpr Duration kMoveInterval = 200ms;

// A fleet for play: root, one issuer, and one certificate a node, all from the seed.
struct Certificates {
  explicit Certificates(std::uint64_t seed) : entropy(seed) {
    issuer_certificate.role = trust::Role::kIssuer;
    issuer_certificate.subject = issuer.public_key;
    issuer_certificate.name = "issuer";
    issuer_certificate.grants = trust::Grants::of_an_issuer();
    issuer_certificate.fleet = trust::fingerprint(root.public_key);
    trust::sign_certificate(issuer_certificate, root.secret);
  }
  Buffer chain(const trust::KeyPair& key, std::string name) const {
    trust::Certificate node;
    node.subject = key.public_key;
    node.name = std::move(name);
    node.grants = trust::Grants::of_a_node();
    node.fleet = issuer_certificate.fleet;
    trust::sign_certificate(node, issuer.secret);
    return trust::encode_chain({issuer_certificate, node});
  }
  SimEntropy entropy;
  trust::KeyPair root = trust::KeyPair::generate(entropy);
  trust::KeyPair issuer = trust::KeyPair::generate(entropy);
  trust::Certificate issuer_certificate;
};

}  // namespace

World::World(WorldOptions options, Tell tell)
    : options_(std::move(options)), tell_(std::move(tell)), prng_(options_.seed) {
  Certificates fleet(prng_.next());
  for (std::size_t i = 0; i < options_.nodes; ++i) {
    auto host = std::make_unique<Host>();
    host->name = fmt::format("node-{}", i);
    host->key = trust::KeyPair::generate(fleet.entropy);
    host->id = trust::node_id_of(host->key.public_key);
    host->chain = fleet.chain(host->key, host->name);
    host->root = fleet.root.public_key;
    host->clock = Duration(static_cast<std::int64_t>(prng_.below(1'000'000))) * 1'000'000;  // up to 1000 s
    host->entropy_seed = prng_.next();
    const auto drift = static_cast<std::uint64_t>(options_.clock_drift_ppm * 1000);
    host->drift_ppb = static_cast<std::int64_t>(prng_.below(2 * drift + 1)) - static_cast<std::int64_t>(drift);
    index_[host->id] = i;
    hosts_.push_back(std::move(host));
  }
  draw_clocks();
  Prng places(options_.seed ^ 0x91ACE5ULL);
  for (const auto& host : hosts_) {
    host->x = places.uniform() * std::sqrt(0.5);
    host->y = places.uniform() * std::sqrt(0.5);
  }
  root_ = std::move(fleet.root);
  at(now_ + kSweepInterval, [this] { sweep(); });
}

World::~World() = default;

// No board has run for less than nothing: where some are behind, the others have run for longer.
void World::draw_clocks() {
  Prng prng(options_.seed ^ 0xC10C5ULL);
  std::vector<std::size_t> order(hosts_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  prng.shuffle(order);
  const auto wrong = static_cast<std::size_t>(options_.clock_skew_share * static_cast<double>(hosts_.size()));
  for (std::size_t k = 0; k < order.size(); ++k) {
    hosts_[order[k]]->clock += k >= wrong ? options_.clock_skew : k % 2 == 0 ? 2 * options_.clock_skew : Duration{};
  }
}

void World::inject(std::size_t from, std::size_t to, Buffer frame) {
  env::Send send{hosts_[to]->id, env::Priority::kNormal, false, std::move(frame)};
  if (!hosts_[from]->endpoint) return transmit(from, std::move(send));
  send_by_quic(from, std::move(send));
  pump(from);
}

void World::tamper(std::size_t i, std::function<bool(std::size_t, const env::Send&)> passes) {
  hosts_[i]->passes = std::move(passes);
}

const trust::KeyPair& World::key(std::size_t i) const { return hosts_[i]->key; }
const Buffer& World::chain(std::size_t i) const { return hosts_[i]->chain; }

Buffer World::quorum_order(const wire::ForcedQuorum& quorum) const {
  trust::QuorumOrder order{quorum, {}};
  trust::sign_quorum(order, root_.secret);
  return trust::encode_quorum(order);
}

Buffer World::revocation(std::size_t i, trust::Cut cut) const {
  trust::Revocation revocation{hosts_[i]->id, cut, std::nullopt, {}};
  trust::sign_revocation(revocation, root_.secret);
  return trust::encode_revocation(revocation);
}

void World::lose_disk(std::size_t i) { hosts_[i]->disk = Disk(); }

NodeId World::id(std::size_t i) const { return hosts_[i]->id; }
bool World::up(std::size_t i) const { return hosts_[i]->node != nullptr; }
const node::Node& World::node(std::size_t i) const { return *hosts_[i]->node; }

std::uint64_t World::bytes_sent(std::size_t i) const { return hosts_[i]->bytes_sent; }

Result<std::size_t> World::records(std::size_t i, std::string_view bucket) {
  std::size_t count = 0;
  SEDGE_CHECK(hosts_[i]->store->load(bucket, [&count](Bytes, Bytes) -> Status {
    ++count;
    return {};
  }));
  return count;
}

std::optional<std::uint64_t> World::discovery_bytes(std::size_t i) const {
  if (!hosts_[i]->found) return std::nullopt;
  return hosts_[i]->discovery_bytes;
}

void World::count_discovery(std::size_t i, std::uint64_t bytes) {
  Host& host = *hosts_[i];
  if (host.node && !host.found) host.discovery_bytes += bytes;
}

Duration World::round_trip(std::size_t a, std::size_t b) const { return 2 * way(a, b) + options_.link.jitter; }

std::optional<std::uint64_t> World::fleet_us(std::size_t i) const {
  const Host& host = *hosts_[i];
  const Instant now = local(host);
  if (!host.node || !host.node->state().clock_settled(now)) return std::nullopt;
  return host.node->state().fleet_us(now);
}

std::vector<std::pair<std::size_t, std::size_t>> World::links() const {
  std::vector<std::pair<std::size_t, std::size_t>> all;
  const auto linked = [this](std::size_t a, std::size_t b) {
    return hosts_[a]->endpoint && hosts_[a]->endpoint->linked(hosts_[b]->id);
  };
  for (std::size_t a = 0; options_.quic && a < hosts_.size(); ++a) {
    for (std::size_t b = a + 1; b < hosts_.size(); ++b) {
      if (linked(a, b) && linked(b, a)) all.emplace_back(a, b);
    }
  }
  for (const std::uint64_t number : in_use_) {
    const Link& link = links_[number];
    if (link.pipes[0].up && link.pipes[1].up) all.push_back(std::minmax(link.ends[0], link.ends[1]));
  }
  return all;
}

std::optional<std::size_t> World::index_of(NodeId id) const {
  const auto found = index_.find(id);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

void World::at(Instant when, Event event) {
  if (events_free_.empty()) {
    events_free_.push_back(static_cast<std::uint32_t>(events_.size()));
    events_.emplace_back();
  }
  const std::uint32_t slot = events_free_.back();
  events_free_.pop_back();
  events_[slot] = std::move(event);
  queue_.push_back({std::max(when, now_), ++number_, slot});
  std::push_heap(queue_.begin(), queue_.end());
}

// Whole nanoseconds throughout: the same on every machine.
Instant World::local(const Host& host) const {
  const Int128 passed = now_.time_since_epoch().count();
  const auto gained = static_cast<std::int64_t>(passed * host.drift_ppb / 1'000'000'000);
  return now_ + host.clock + Duration(gained);
}

Instant World::world_time(const Host& host, Instant local) const {
  const Int128 shown = (local - host.clock).time_since_epoch().count();
  const Int128 rate = 1'000'000'000 + host.drift_ppb;
  const Instant about(Duration(static_cast<std::int64_t>((shown * 1'000'000'000 + rate - 1) / rate)));
  return about + (host.drift_ppb == 0 ? Duration::zero() : Duration(1));  // what rounding may have taken away
}

Duration World::way(std::size_t from, std::size_t to) const {
  if (options_.link.plane == Duration::zero()) return options_.link.latency;
  const double dx = hosts_[from]->x - hosts_[to]->x, dy = hosts_[from]->y - hosts_[to]->y;
  const double far = std::sqrt(dx * dx + dy * dy) * static_cast<double>(options_.link.plane.count());
  return options_.link.latency + Duration(static_cast<std::int64_t>(far));
}

Duration World::flight(std::size_t from, std::size_t to) {
  const auto jitter = static_cast<std::uint64_t>(options_.link.jitter.count());
  return way(from, to) + Duration(static_cast<std::int64_t>(prng_.below(jitter + 1)));
}

// Whether a packet is lost that leaves so much later than now. Good and bad times alternate, each within half of its
// mean; the next bad one is not drawn ahead.
bool World::lost(Pipe& pipe, Duration later) {
  const LinkModel& link = options_.link;
  if (link.burst_loss <= 0) return prng_.chance(link.loss);
  while (pipe.bad_changes <= now_) {
    const bool first = pipe.bad_changes == Instant{};
    pipe.bad = !first && !pipe.bad;
    const auto mean = static_cast<std::uint64_t>((pipe.bad ? link.burst : link.burst_every).count());
    const auto time = Duration(static_cast<std::int64_t>(mean / 2 + prng_.below(mean + 1)));
    pipe.bad_changes = (first ? now_ : pipe.bad_changes) + std::max(time, Duration(1));
  }
  return prng_.chance(pipe.bad && now_ + later < pipe.bad_changes ? link.burst_loss : link.loss);
}

// --- lives of nodes ----------------------------------------------------------------------------------------------

Status World::boot(std::size_t i) {
  Host& host = *hosts_[i];
  SEDGE_ASSERT(host.node == nullptr);
  host.machine = true;
  host.disk.mend();
  host.discovery_bytes = 0;
  host.found = false;
  const std::uint64_t life = ++host.life;
  SEDGE_TRY(host.store, store::Store::open(host.disk, "state.db"));
  SEDGE_TRY(const BootEpoch epoch, node::begin_epoch(*host.store));
  host.directory = std::make_unique<trust::Directory>(host.root);
  host.directory->share(shared_);
  SEDGE_CHECK(host.directory->add(host.chain));
  host.entropy = std::make_unique<SimEntropy>(host.entropy_seed + life);
  if (options_.quic) SEDGE_CHECK(open_endpoint(i, epoch));
  const auto later = [this, i, life](Duration busy, std::uint64_t job, env::SliceReport report) {
    at(now_ + busy, [this, i, life, job, report = std::move(report)] { finish_slice(i, life, job, report); });
  };
  host.compute =
      std::make_unique<SimCompute>(i < options_.models_from ? std::vector<SimModel>() : options_.models, later);
  node::NodeOptions options;
  options.name = host.name;
  options.epoch = epoch;
  options.endpoints = {address_of(i)};
  if (!options_.multicast) options.seeds = {address_of(0)};
  options.beacons = options_.multicast;
  options.may_found = options_.consensus && i == 0;
  options.collect_every = options_.collect_every;
  options.collect_after = options_.collect_after;
  options.pack = options_.pack;
  options.meter = options_.meter;
  options.overlay = options_.overlay;
  if (options_.zones > 0) options.zone = fmt::format("zone-{}", i % options_.zones);
  host.node = std::make_unique<node::Node>(std::move(options), host.key.secret.clone(), *host.directory, *host.entropy,
                                           *host.compute);
  host.node->on_member_event([this, i](const mesh::MemberEvent& event) {
    trace_.add(now_);
    trace_.add(static_cast<std::uint64_t>(event.kind));
    trace_.add(event.id.view());
    if (tell_) {
      tell_(now_, hosts_[i]->name, fmt::format("{} {}: {}", mesh::event_name(event.kind), event.name, event.detail));
    }
    note_verdict(i, event);
  });
  for (const std::string& bucket : node::Node::buckets()) {
    SEDGE_CHECK(host.store->load(bucket, [&](Bytes key, Bytes value) { return host.node->load(bucket, key, value); }));
  }
  host.node->start(local(host));
  pump(i);
  return {};
}

void World::note_verdict(std::size_t i, const mesh::MemberEvent& event) {
  if (event.kind == mesh::MemberEvent::Kind::kDown) {
    deaths_.push_back({now_, i, event});
    called_dead_.emplace(i, event.id);
  } else if (event.kind == mesh::MemberEvent::Kind::kUp && called_dead_.erase({i, event.id}) > 0) {
    returns_.push_back({now_, i, event});
  }
}

Status World::boot_all() {
  for (std::size_t i = 0; i < hosts_.size(); ++i) SEDGE_CHECK(boot(i));
  return {};
}

void World::kill(std::size_t i) { stop(i, false); }
void World::cut_power(std::size_t i) { stop(i, true); }
void World::cut_power_within_commit(std::size_t i, std::uint64_t changes) { hosts_[i]->disk.fail_after(changes); }

void World::break_disk(std::size_t i, std::uint64_t changes) { hosts_[i]->disk.break_after(changes); }

void World::stop(std::size_t i, bool power) {
  Host& host = *hosts_[i];
  ++host.life;
  host.endpoint.reset();
  host.node.reset();
  host.compute.reset();
  host.store.reset();
  host.timer.reset();
  host.records.clear();
  host.committing = false;
  for (const auto& [peer, link] : host.links) {
    links_[link].from(i).up = false;
    links_[link].from(i).blocked.clear();
  }
  host.links.clear();
  if (!power) return;
  host.machine = false;
  host.disk.cut_power(prng_.next());
}

void World::stall(std::size_t i, Duration time) { hosts_[i]->stalled_until = now_ + time; }
void World::slow(std::size_t i, double bytes_per_s) { hosts_[i]->bytes_per_s = bytes_per_s; }

double World::rate(std::size_t from, std::size_t to) const {
  return std::min({options_.link.bytes_per_s, hosts_[from]->bytes_per_s, hosts_[to]->bytes_per_s});
}

void World::act(std::size_t i, const std::function<void(node::Node&, Instant)>& call) {
  Host& host = *hosts_[i];
  SEDGE_ASSERT(host.node != nullptr);
  host.node->on_backlog(backlogs(i));
  call(*host.node, local(host));
  pump(i);
}

// Carries out what a node wants, and asks when it wants to be called again.
void World::pump(std::size_t i) {
  constexpr int kRounds = 16;  // as platform/ has it
  Host& host = *hosts_[i];
  if (!host.endpoint) {
    carry_out(i);
  } else {
    for (int round = 0; round < kRounds; ++round) {
      const bool heard = hear(i);
      if (!carry_out(i) && !heard) break;
    }
    send_packets(i);
  }
  if (host.node) {
    host.node->on_backlog(backlogs(i));
    say_link_bytes(i);
  }
  arm(i);
}

bool World::carry_out(std::size_t i) {
  Host& host = *hosts_[i];
  if (!host.node) return false;
  env::Outbox out;
  host.node->drain(out, local(host));
  const bool any = !out.empty();
  for (env::Send& send : out.sends) {
    const auto to = host.passes ? index_of(send.to) : std::nullopt;
    if (to && !host.passes(*to, send)) continue;
    host.endpoint ? send_by_quic(i, std::move(send)) : transmit(i, std::move(send));
  }
  for (const env::Dial& dial : out.dials) host.endpoint ? dial_by_quic(i, dial) : connect(i, dial);
  for (const Buffer& bytes : out.beacons) beacon(i, bytes);
  if (!out.records.empty()) {
    std::ranges::move(out.records, std::back_inserter(host.records));
    host.lsn = out.lsn;
    if (!host.committing) {
      host.committing = true;
      const auto half = static_cast<std::uint64_t>(options_.disk_sync.count() / 2);
      const Duration time = Duration(static_cast<std::int64_t>(half + prng_.below(half + 1)));
      at(now_ + time, [this, i, life = host.life] { commit(i, life); });
    }
  }
  for (const env::Hangup& hangup : out.hangups) {
    if (host.endpoint) {
      host.endpoint->hangup(hangup.peer, hangup.reason, local(host));
      continue;
    }
    const auto peer = index_of(hangup.peer);
    const auto link = peer ? host.links.find(*peer) : host.links.end();
    if (link == host.links.end()) continue;
    const std::uint64_t number = link->second;
    const env::LinkDown told = links_[number].from(i).told = env::as_told(hangup.reason);
    at(now_ + flight(i, *peer), [this, number, end = *peer, told] { link_down(number, end, told); });
    link_down(number, i, hangup.reason);
  }
  return any;
}

const std::vector<env::LinkBacklog>& World::backlogs(std::size_t i) {
  Host& host = *hosts_[i];
  backlogs_.clear();
  if (host.endpoint) {
    host.endpoint->backlog(backlogs_);
    return backlogs_;
  }
  if (host.busy_until <= now_) return backlogs_;
  for (const auto& [peer, number] : host.links) {
    const Duration busy = std::ranges::max(links_[number].from(i).free) - now_;
    if (busy <= Duration::zero()) continue;
    const auto bytes = static_cast<std::size_t>(to_seconds(busy) * rate(i, peer));
    backlogs_.push_back({hosts_[peer]->id, bytes, bytes});
  }
  return backlogs_;
}

void World::say_link_bytes(std::size_t i) {
  constexpr Duration kInterval = 100ms;  // as platform/ has it
  Host& host = *hosts_[i];
  if (now_ - host.link_bytes_said < kInterval) return;
  host.link_bytes_said = now_;
  link_bytes_.clear();
  for (const auto& [peer, number] : host.links) {
    const Pipe& out = links_[number].from(i);
    const Pipe& in = links_[number].from(peer);
    const Instant heard = local(host) - (now_ - std::max(out.carried_at, in.carried_at));
    link_bytes_.push_back({hosts_[peer]->id, out.carried, in.carried, heard});
  }
  if (host.endpoint) host.endpoint->link_bytes(link_bytes_);
  host.node->on_link_bytes(link_bytes_, local(host));
}

std::size_t World::backlog(std::size_t i) {
  std::size_t most = 0;
  for (const env::LinkBacklog& each : backlogs(i)) most = std::max(most, each.queued);
  return most;
}

env::AnswersWaiting World::answers_waiting(std::size_t i, NodeId peer) {
  Host& host = *hosts_[i];
  if (host.endpoint) return host.endpoint->answers_waiting(peer);
  const auto to = index_of(peer);
  const auto found = to ? host.links.find(*to) : host.links.end();
  if (found == host.links.end()) return {};
  const Pipe& pipe = links_[found->second].from(i);
  const auto waiting = [&](env::Priority priority) {
    const Duration busy = std::max(pipe.free[static_cast<std::size_t>(priority)] - now_, Duration::zero());
    return static_cast<std::size_t>(to_seconds(busy) * rate(i, *to));
  };
  return {waiting(env::Priority::kControl), waiting(env::Priority::kState)};
}

void World::take_frame(std::size_t i, NodeId from, Bytes frame, Instant shown) {
  hosts_[i]->node->on_frame(from, frame, answers_waiting(i, from), shown);
}

void World::arm(std::size_t i) {
  Host& host = *hosts_[i];
  if (!host.node) return;
  Instant due = host.node->next_deadline();
  if (host.endpoint) due = std::min(due, host.endpoint->next_deadline());
  if (due == kNever) return;
  const Instant world_due = std::max(world_time(host, due), now_);
  if (host.timer && *host.timer <= world_due) return;
  host.timer = world_due;
  at(world_due, [this, i, life = host.life, world_due] { tick(i, life, world_due); });
}

void World::tick(std::size_t i, std::uint64_t life, Instant due) {
  Host& host = *hosts_[i];
  if (host.life != life || !host.node || host.timer != due) return;  // another timer has replaced this one
  if (now_ < host.stalled_until) return at(host.stalled_until, [=, this] { tick(i, life, due); });
  host.timer.reset();
  const Instant shown = local(host);
  host.node->on_backlog(backlogs(i));
  if (host.endpoint && host.endpoint->next_deadline() <= shown) host.endpoint->on_timer(shown);
  if (!host.endpoint || host.node->next_deadline() <= shown) host.node->on_timer(shown);
  pump(i);
}

void World::finish_slice(std::size_t i, std::uint64_t life, std::uint64_t job, const env::SliceReport& report) {
  Host& host = *hosts_[i];
  if (host.life != life || !host.node || !host.compute->current(report.task, job)) return;
  if (now_ < host.stalled_until) return at(host.stalled_until, [=, this] { finish_slice(i, life, job, report); });
  host.node->on_slice(report, local(host));
  pump(i);
}

void World::commit(std::size_t i, std::uint64_t life) {
  Host& host = *hosts_[i];
  if (host.life != life || !host.node) return;
  const std::vector<env::Record> records = std::exchange(host.records, {});
  const env::Lsn lsn = host.lsn;
  host.committing = false;
  if (const Status applied = host.store->apply(records); !applied) {
    if (!host.disk.broken()) return stop(i, true);  // the power went within it
    // As platform/ does: the process ends with the reason, and acknowledges nothing. What was not synced is lost.
    stops_.push_back({now_, i, applied.error()});
    if (tell_) tell_(now_, host.name, fmt::format("stops: {}", applied.error().message));
    stop(i, false);
    host.disk.cut_power(prng_.next());
    return;
  }
  host.node->on_durable(lsn, local(host));
  pump(i);
}

// --- cuts and ways --------------------------------------------------------------------------------------------------

void World::cut(std::size_t from, std::size_t to) { cuts_.insert({from, to}); }

void World::partition(const std::set<std::size_t>& side) {
  for (std::size_t a = 0; a < hosts_.size(); ++a) {
    for (std::size_t b = 0; b < hosts_.size(); ++b) {
      if (side.contains(a) != side.contains(b)) cut(a, b);
    }
  }
}

void World::heal() {
  cuts_.clear();
  release();
}

void World::roam() {
  if (!options_.contacts.empty()) {
    contacts_.emplace(options_.contacts, now_);
    meet_as_recorded();
  }
  if (options_.mobility.range_m <= 0) return;
  mobility_.emplace(options_.mobility, hosts_.size(), options_.seed ^ 0x30B111DADULL, now_);
  at(now_ + kMoveInterval, [this] { move(); });
}

void World::gather() {
  mobility_.reset();
  contacts_.reset();
  release();
}

void World::move() {
  if (!mobility_) return;
  mobility_->move(now_);
  release();
  at(now_ + kMoveInterval, [this] { move(); });
}

void World::meet_as_recorded() {
  if (!contacts_) return;
  contacts_->move(now_);
  release();
  if (const Instant next = contacts_->next(); next != kNever) at(next, [this] { meet_as_recorded(); });
}

// --- time --------------------------------------------------------------------------------------------------------

void World::run(Duration time) {
  const Instant end = now_ + time;
  while (!queue_.empty() && queue_.front().when <= end) {
    std::pop_heap(queue_.begin(), queue_.end());
    const Queued next = queue_.back();
    queue_.pop_back();
    now_ = next.when;
    ++counts_.events;
    Event event = std::move(events_[next.event]);
    events_free_.push_back(next.event);
    event();
  }
  now_ = end;
}

bool World::run_until(const std::function<bool()>& reached, Duration limit) {
  for (const Instant end = now_ + limit; !reached(); run(10ms)) {
    if (now_ >= end) return false;
  }
  return true;
}

bool World::one_view() const {
  const auto running =
      static_cast<std::size_t>(std::ranges::count_if(hosts_, [](const auto& h) { return h->node != nullptr; }));
  std::optional<std::uint64_t> digest;
  for (const auto& host : hosts_) {
    if (!host->node) continue;
    const mesh::Membership& view = host->node->membership();
    if (view.alive() != running || (digest && *digest != view.digest())) return false;
    digest = view.digest();
  }
  return true;
}

bool World::one_state() const {
  std::uint64_t frontier_ms = 0;
  for (const auto& host : hosts_) {
    if (host->node) frontier_ms = std::max(frontier_ms, host->node->state().frontier_ms());
  }
  std::optional<crdt::Digest> first;
  for (const auto& host : hosts_) {
    if (!host->node) continue;
    const crdt::Digest digest = host->node->state().digest_at(frontier_ms);
    if (digest != first.value_or(digest)) return false;
    first = digest;
  }
  return true;
}

}  // namespace sedge::sim
