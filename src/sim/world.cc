#include "sim/world.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/assert.h"

namespace sedge::sim {

namespace {

constexpr Duration kIdleTimeout = 3s;  // as quic/ has it
constexpr Duration kSweepInterval = 100ms;
constexpr Duration kDialTimeout = 5s;
constexpr Duration kMoveInterval = 200ms;
constexpr Duration kRetransmit = 30ms;  // on top of a round trip: a lost packet is noticed
constexpr std::uint64_t kPacketOverhead = 60;
constexpr std::uint64_t kInitialBytes = 1200 + kPacketOverhead;  // QUIC pads the first packet of a dial

class SimEntropy final : public env::Entropy {
 public:
  explicit SimEntropy(std::uint64_t seed) : prng_(seed) {}
  void fill(MutableBytes out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(prng_.next() >> 56);
  }

 private:
  Prng prng_;
};

env::Endpoint address_of(std::size_t i) {
  return env::Endpoint::v4(10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                           static_cast<std::uint8_t>(i), 7334);
}

__extension__ using Int128 = __int128;

// Which host has this address, if one of `count` does.
std::optional<std::size_t> host_at(const env::Endpoint& address, std::size_t count) {
  const std::uint8_t* const v4 = address.address.data() + 12;
  const std::size_t i = std::size_t{v4[1]} << 16 | std::size_t{v4[2]} << 8 | v4[3];
  if (i >= count || address != address_of(i)) return std::nullopt;
  return i;
}

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

struct World::Host {
  std::string name;
  trust::KeyPair key;
  NodeId id;
  Buffer chain;
  trust::PublicKey root;
  Duration clock{};            // its monotonic clock minus the world's, at the beginning
  std::int64_t drift_ppb = 0;  // and what it gains since, of 10^9
  std::uint64_t entropy_seed = 0;

  Disk disk;
  bool machine = true;  // the machine runs, whether or not the process does
  std::uint64_t life = 0;
  Instant stalled_until{};
  std::optional<Instant> timer;
  std::vector<env::Record> records;  // waiting for the disk
  env::Lsn lsn;
  bool committing = false;
  std::uint64_t bytes_sent = 0;
  std::uint64_t discovery_bytes = 0;
  bool found = false;                                         // somebody, in this life
  std::function<bool(std::size_t, const env::Send&)> passes;  // of a member that lies
  double x = 0, y = 0;                                        // its place, in a square that is 1 from corner to corner
  std::map<std::size_t, std::uint64_t> links;                 // by peer: the link that this end uses
  Instant busy_until{};  // of its links, the longest; or longer, where one has gone since

  std::unique_ptr<store::Store> store;
  std::unique_ptr<trust::Directory> directory;
  std::unique_ptr<SimEntropy> entropy;
  std::unique_ptr<SimCompute> compute;
  std::unique_ptr<node::Node> node;
};

struct World::Pipe {
  bool up = true;                                // the end that sends
  env::LinkDown told = env::LinkDown::kClosed;   // by this end, once it is down: what QUIC answers whoever still sends
  Instant heard{};                               // by the end that sends, of the other
  std::array<Instant, env::kPriorities> free{};  // when the wire is free for a priority
  std::array<Instant, env::kPriorities> arrived{};  // frames of a priority arrive in order
  std::vector<env::Send> blocked;                   // frames sent into a cut
  bool bad = false;                                 // in a burst of losses
  Instant bad_changes{};
};

struct World::Link {
  std::array<std::size_t, 2> ends{};
  std::array<Pipe, 2> pipes;
  Pipe& from(std::size_t end) { return pipes[end == ends[0] ? 0 : 1]; }
  std::size_t other(std::size_t end) const { return end == ends[0] ? ends[1] : ends[0]; }
};

World::World(WorldOptions options) : options_(std::move(options)), prng_(options_.seed) {
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
  transmit(from, {hosts_[to]->id, env::Priority::kNormal, false, std::move(frame)});
}

void World::tamper(std::size_t i, std::function<bool(std::size_t, const env::Send&)> passes) {
  hosts_[i]->passes = std::move(passes);
}

const trust::KeyPair& World::key(std::size_t i) const { return hosts_[i]->key; }
const Buffer& World::chain(std::size_t i) const { return hosts_[i]->chain; }

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

// Whether a packet that leaves now is lost. Good and bad times alternate, each within half of its mean.
bool World::lost(Pipe& pipe) {
  const LinkModel& link = options_.link;
  if (link.burst_loss <= 0) return prng_.chance(link.loss);
  while (pipe.bad_changes <= now_) {
    const bool first = pipe.bad_changes == Instant{};
    pipe.bad = !first && !pipe.bad;
    const auto mean = static_cast<std::uint64_t>((pipe.bad ? link.burst : link.burst_every).count());
    const auto time = Duration(static_cast<std::int64_t>(mean / 2 + prng_.below(mean + 1)));
    pipe.bad_changes = (first ? now_ : pipe.bad_changes) + std::max(time, Duration(1));
  }
  return prng_.chance(pipe.bad ? link.burst_loss : link.loss);
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
  host.directory->share_verdicts(verdicts_);
  SEDGE_CHECK(host.directory->add(host.chain));
  host.entropy = std::make_unique<SimEntropy>(host.entropy_seed + life);
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
  host.node = std::make_unique<node::Node>(std::move(options), host.key.secret.clone(), *host.directory, *host.entropy,
                                           *host.compute);
  host.node->on_member_event([this, i](const mesh::MemberEvent& event) {
    trace_.add(now_);
    trace_.add(static_cast<std::uint64_t>(event.kind));
    trace_.add(event.id.view());
    if (options_.tell) {
      options_.tell(now_, hosts_[i]->name,
                    fmt::format("{} {}: {}", mesh::event_name(event.kind), event.name, event.detail));
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
  host.disk.cut_power(prng_);
}

void World::stall(std::size_t i, Duration time) { hosts_[i]->stalled_until = now_ + time; }

void World::act(std::size_t i, const std::function<void(node::Node&, Instant)>& call) {
  Host& host = *hosts_[i];
  SEDGE_ASSERT(host.node != nullptr);
  host.node->on_backlog(backlog(i));
  call(*host.node, local(host));
  pump(i);
}

// Carries out what a node wants, and asks when it wants to be called again.
void World::pump(std::size_t i) {
  Host& host = *hosts_[i];
  if (!host.node) return;
  env::Outbox out;
  host.node->drain(out, local(host));
  for (env::Send& send : out.sends) {
    const auto to = host.passes ? index_of(send.to) : std::nullopt;
    if (!to || host.passes(*to, send)) transmit(i, std::move(send));
  }
  for (const env::Dial& dial : out.dials) connect(i, dial);
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
    const auto peer = index_of(hangup.peer);
    const auto link = peer ? host.links.find(*peer) : host.links.end();
    if (link == host.links.end()) continue;
    const std::uint64_t number = link->second;
    const env::LinkDown told = links_[number].from(i).told = env::as_told(hangup.reason);
    at(now_ + flight(i, *peer), [this, number, end = *peer, told] { link_down(number, end, told); });
    link_down(number, i, hangup.reason);
  }
  if (host.node) host.node->on_backlog(backlog(i));
  arm(i);
}

// Bytes that wait on the fullest of its links.
std::size_t World::backlog(std::size_t i) {
  double most = 0;
  Host& host = *hosts_[i];
  if (host.busy_until <= now_) return 0;
  for (const auto& [peer, number] : host.links) {
    const Pipe& pipe = links_[number].from(i);
    most = std::max(most, to_seconds(std::ranges::max(pipe.free) - now_) * options_.link.bytes_per_s);
  }
  return static_cast<std::size_t>(most);
}

void World::arm(std::size_t i) {
  Host& host = *hosts_[i];
  if (!host.node) return;
  const Instant due = host.node->next_deadline();
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
  host.node->on_backlog(backlog(i));
  host.node->on_timer(local(host));
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
    if (options_.tell) options_.tell(now_, host.name, fmt::format("stops: {}", applied.error().message));
    stop(i, false);
    host.disk.cut_power(prng_);
    return;
  }
  host.node->on_durable(lsn, local(host));
  pump(i);
}

// --- links -------------------------------------------------------------------------------------------------------

void World::transmit(std::size_t from, env::Send send) {
  const auto to = index_of(send.to);
  const auto found = to ? hosts_[from]->links.find(*to) : hosts_[from]->links.end();
  if (found == hosts_[from]->links.end()) return;
  const std::uint64_t link = found->second;
  (send.datagram ? counts_.datagrams : counts_.frames) += 1;
  counts_.bytes += send.frame.size() + kPacketOverhead;
  hosts_[from]->bytes_sent += send.frame.size() + kPacketOverhead;
  Pipe& pipe = links_[link].from(from);
  if (send.datagram) {
    if (!reaches(from, *to) || lost(pipe)) return;
    const LinkModel& model = options_.link;
    Duration late{};
    if (model.reorder > 0 && prng_.chance(model.reorder)) {
      late = Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(model.reorder_by.count()) + 1)));
    }
    if (model.duplicate > 0 && prng_.chance(model.duplicate)) carry(link, from, *to, send, {});
    carry(link, from, *to, std::move(send), late);
    return;
  }
  if (!reaches(from, *to) || !pipe.blocked.empty()) {
    pipe.blocked.push_back(std::move(send));
    return;
  }
  Duration again{};
  while (again < kIdleTimeout && lost(pipe)) again += 2 * way(from, *to) + kRetransmit;
  carry(link, from, *to, std::move(send), again);
}

// Puts bytes on the wire. More urgent frames go before less urgent ones that wait; what is on the wire already is
// not called back, so that the model lets a little more through than a real link at the moment of overtaking.
void World::carry(std::uint64_t link, std::size_t from, std::size_t to, env::Send send, Duration extra) {
  Pipe& pipe = links_[link].from(from);
  const auto priority = static_cast<std::size_t>(send.priority);
  Instant start = now_;
  for (std::size_t p = 0; p <= priority; ++p) start = std::max(start, pipe.free[p]);
  const double seconds = static_cast<double>(send.frame.size() + kPacketOverhead) / options_.link.bytes_per_s;
  const Duration time(static_cast<std::int64_t>(seconds * 1e9));
  if (to_seconds(start - now_) * options_.link.bytes_per_s > static_cast<double>(env::kLinkQueueBytesMax)) {
    ++counts_.too_slow;
    at(now_ + flight(from, to), [this, link, to] { link_down(link, to, env::LinkDown::kClosed); });
    at(now_, [this, link, from] { link_down(link, from, env::LinkDown::kTooSlow); });
    return;
  }
  pipe.free[priority] = start + time;
  hosts_[from]->busy_until = std::max(hosts_[from]->busy_until, start + time);
  Instant arrival = start + time + flight(from, to) + extra;
  if (!send.datagram) {
    arrival = std::max(arrival, pipe.arrived[priority]);
    pipe.arrived[priority] = arrival;
  }
  at(arrival, [this, link, from, to, frame = std::move(send.frame)] { arrive(link, from, to, frame); });
}

void World::arrive(std::uint64_t link, std::size_t from, std::size_t to, const Buffer& frame) {
  Host& host = *hosts_[to];
  const auto mine = host.links.find(from);
  if (mine == host.links.end() || mine->second != link) {
    // Nobody is there for it, and the sender's end of the link falls: a process that runs says that the link is closed,
    // a machine without one that nobody listens.
    if (host.machine && reaches(to, from)) {
      const env::LinkDown reason = host.node ? links_[link].from(to).told : env::LinkDown::kRefused;
      at(now_ + flight(to, from), [this, link, from, reason] { link_down(link, from, reason); });
    }
    return;
  }
  if (now_ < host.stalled_until) {
    return at(host.stalled_until, [this, link, from, to, frame] { arrive(link, from, to, frame); });
  }
  trace_.add(now_);
  trace_.add(from << 32 | to);
  trace_.add(Bytes(frame));
  host.node->on_frame(hosts_[from]->id, frame, local(host));
  pump(to);
}

void World::connect(std::size_t from, const env::Dial& dial) {
  ++counts_.dials;
  const std::optional<std::size_t> to = host_at(dial.address, hosts_.size());
  if (to == from) return fail_dial(from, dial.address, 1ms, "that is ourselves");
  count_discovery(hosts_[from]->found && to ? *to : from, kInitialBytes);  // of the two, who is alone
  if (!to || !reaches(from, *to) || !reaches(*to, from) || !hosts_[*to]->machine) {
    return fail_dial(from, dial.address, kDialTimeout, "no answer");
  }
  if (!hosts_[*to]->node) return fail_dial(from, dial.address, 2 * flight(from, *to), "nobody listens there");
  Duration handshake = 4 * flight(from, *to);  // two round trips until both have confirmed
  while (prng_.chance(options_.link.loss)) handshake += 2 * way(from, *to) + kRetransmit;
  at(now_ + handshake,
     [this, from, life = hosts_[from]->life, to = *to, address = dial.address] { meet(from, life, to, address); });
}

void World::fail_dial(std::size_t from, const env::Endpoint& address, Duration after, const std::string& reason) {
  at(now_ + after, [this, from, life = hosts_[from]->life, address, reason] {
    Host& host = *hosts_[from];
    if (host.life != life || !host.node) return;
    host.node->on_dial_failed({address, reason}, local(host));
    pump(from);
  });
}

void World::meet(std::size_t from, std::uint64_t life, std::size_t to, const env::Endpoint& address) {
  Host& dialler = *hosts_[from];
  Host& other = *hosts_[to];
  if (dialler.life != life || !dialler.node) return;
  const Instant awake = std::max(dialler.stalled_until, other.stalled_until);
  if (now_ < awake) return at(awake, [=, this] { meet(from, life, to, address); });
  if (!other.node || !reaches(from, to) || !reaches(to, from)) {
    return fail_dial(from, address, kDialTimeout, "no answer");
  }
  // As the handshake would say (quic/): here every certificate is good, and some were withdrawn.
  if (dialler.directory->revoked(other.id) || other.directory->revoked(dialler.id)) {
    return fail_dial(from, address, {}, "its certificate was revoked");
  }
  const auto known = dialler.links.find(to);
  const auto back = other.links.find(from);
  const bool both = known != dialler.links.end() && back != other.links.end() && known->second == back->second;
  if (both) return fail_dial(from, address, {}, "linked already");
  // An end that still held on to an older link (its peer has restarted) gives it up for this one.
  if (known != dialler.links.end()) link_down(known->second, from, env::LinkDown::kReplaced);
  if (back != other.links.end()) link_down(back->second, to, env::LinkDown::kReplaced);
  const std::uint64_t number = links_.size();
  Link& link = links_.emplace_back();
  in_use_.push_back(number);
  link.ends = {from, to};
  for (Pipe& pipe : link.pipes) pipe.heard = now_;
  dialler.links[to] = other.links[from] = number;
  dialler.found = other.found = true;
  for (const auto& [one, peer] : {std::pair(from, to), std::pair(to, from)}) {
    trace_.add(now_);
    trace_.add(one << 32 | peer);
    Host& host = *hosts_[one];
    if (options_.tell) options_.tell(now_, host.name, fmt::format("link to {}", hosts_[peer]->name));
    host.node->on_link_up({hosts_[peer]->id, address_of(peer), one == from, hosts_[peer]->chain}, local(host));
  }
  pump(from);
  pump(to);
}

void World::link_down(std::uint64_t number, std::size_t end, env::LinkDown reason) {
  Link& link = links_[number];
  if (!link.from(end).up) return;
  if (const Instant awake = hosts_[end]->stalled_until; now_ < awake) {
    return at(awake, [=, this] { link_down(number, end, reason); });
  }
  const std::size_t peer = link.other(end);
  link.from(end).up = false;
  link.from(end).blocked.clear();
  Host& host = *hosts_[end];
  if (const auto mine = host.links.find(peer); mine != host.links.end() && mine->second == number)
    host.links.erase(mine);
  if (!host.node) return;
  trace_.add(now_);
  trace_.add(static_cast<std::uint64_t>(reason));
  if (options_.tell) {
    options_.tell(now_, host.name,
                  fmt::format("lost its link to {}: {}", hosts_[peer]->name, env::reason_name(reason)));
  }
  host.node->on_link_down(hosts_[peer]->id, reason, local(host));
  pump(end);
}

// Keep-alives and idle timeouts, for all links at once: a packet a second on each would only fill the queue.
void World::sweep() {
  std::vector<std::tuple<std::uint64_t, std::size_t>> silent;
  for (const std::uint64_t number : in_use_) {
    Link& link = links_[number];
    for (const std::size_t end : link.ends) {
      const std::size_t peer = link.other(end);
      Pipe& pipe = link.from(end);
      const bool speaks = link.from(peer).up && now_ >= hosts_[peer]->stalled_until && reaches(peer, end);
      if (!pipe.up) continue;
      if (speaks || now_ < hosts_[end]->stalled_until) pipe.heard = now_;
      if (now_ - pipe.heard >= kIdleTimeout) silent.emplace_back(number, end);
    }
  }
  for (const auto& [number, end] : silent) link_down(number, end, env::LinkDown::kTimeout);
  std::erase_if(in_use_, [this](std::uint64_t number) {
    const Link& link = links_[number];
    return !link.pipes[0].up && !link.pipes[1].up;
  });
  at(now_ + kSweepInterval, [this] { sweep(); });
}

void World::beacon(std::size_t from, const Buffer& bytes) {
  count_discovery(from, bytes.size() + kPacketOverhead);
  for (std::size_t to = 0; to < hosts_.size(); ++to) {
    if (to == from || !reaches(from, to) || prng_.chance(options_.link.loss)) continue;
    at(now_ + flight(from, to), [this, from, to, bytes] {
      Host& host = *hosts_[to];
      if (!host.node || now_ < host.stalled_until) return;
      host.node->on_beacon(address_of(from), bytes, local(host));
      pump(to);
    });
  }
}

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

// Frames that wait for whoever can be reached again.
void World::release() {
  for (const std::uint64_t number : in_use_) {
    Link& link = links_[number];
    for (const std::size_t end : link.ends) {
      if (!link.from(end).up || !reaches(end, link.other(end))) continue;
      for (env::Send& send : std::exchange(link.from(end).blocked, {})) {
        carry(number, end, link.other(end), std::move(send), 2 * way(end, link.other(end)) + kRetransmit);
      }
    }
  }
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
