// A small world for tests of the mesh cores: virtual time, links with latency and loss, nodes that stall, die and are
// cut off. Every node runs Membership, Broadcast and PubSub wired as a node wires them. The real simulator (sim/)
// drives whole nodes with disks; this one shows that the cores alone do what they say.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "mesh/broadcast.h"
#include "mesh/membership.h"
#include "mesh/pubsub.h"
#include "trust/directory.h"
#include "trust/testing.h"

namespace sedge::mesh::test {

using Identity = trust::testing::Member;

// n enrolled nodes, the same ones every time.
struct Fleet {
  explicit Fleet(std::size_t n, const trust::Grants& grants = trust::Grants::of_a_node()) : authority(1) {
    for (std::size_t i = 0; i < n; ++i) nodes.push_back(authority.enrol(fmt::format("node-{}", i), grants));
  }
  trust::Directory directory() const { return trust::Directory(authority.root.public_key); }

  trust::testing::Fleet authority;
  std::vector<Identity> nodes;
};

class World {
 public:
  struct Node {
    const Identity* identity = nullptr;
    env::Endpoint address;
    std::vector<env::Endpoint> dead_ends;  // interfaces that it names first and nobody reaches
    std::unique_ptr<trust::Directory> directory;
    std::unique_ptr<Membership> membership;
    std::unique_ptr<Broadcast> broadcast;
    std::unique_ptr<PubSub> pubsub;
    std::map<std::size_t, Instant> links;  // peer index -> not delivered before (frames stay in order)
    std::vector<std::pair<Instant, MemberEvent>> events;
    std::size_t readings = 0;      // of others' clocks
    std::uint64_t asked = 0;       // for signs of life
    std::vector<std::string> got;  // "topic=payload"
    std::vector<env::Record> records;
    std::uint64_t epoch = 0;
    std::string zone;
    std::uint16_t gateway_rank = 0;
    Instant stalled_until{};
    bool up = false;
    bool timer_set = false;
    Instant timer_at{};
  };

  World(std::size_t n, std::uint64_t seed, double loss = 0, Duration latency = 2ms)
      : fleet(n), prng_(seed), loss_(loss), latency_(latency) {
    nodes.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      nodes[i].identity = &fleet.nodes[i];
      nodes[i].address =
          env::Endpoint::v4(10, 0, static_cast<std::uint8_t>(i / 250), static_cast<std::uint8_t>(i % 250 + 1), 7334);
    }
  }

  Instant now() const { return now_; }

  void boot(std::size_t i, const std::vector<std::size_t>& seeds) {
    Node& node = nodes[i];
    node.up = true;
    node.directory = std::make_unique<trust::Directory>(fleet.directory());
    must(node.directory->add(node.identity->encoded).has_value());
    Membership::Options options;
    options.self = node.identity->id;
    options.name = fmt::format("node-{}", i);
    options.epoch = BootEpoch{++node.epoch};
    options.seed = prng_.next();
    options.overlay = overlay;
    options.gateway_rank = node.gateway_rank;
    options.zone = node.zone;
    options.endpoints = node.dead_ends;
    options.endpoints.push_back(node.address);
    for (const std::size_t s : seeds) options.seeds.push_back(nodes[s].address);
    options.forget_certificate = [&node](NodeId id) { node.directory->forget(id); };
    options.learn_certificate = [&node](Bytes chain) -> Status {
      SEDGE_TRY([[maybe_unused]] const NodeId id, node.directory->add(chain));
      return {};
    };
    options.fleet_us = [](Instant now) { return static_cast<std::uint64_t>(now.time_since_epoch() / 1us) + 1; };
    options.clock_sample = [&node](NodeId, const auto&, Instant) { ++node.readings; };
    options.of_tree = [&node](NodeId peer) { return node.broadcast->tree().holds(peer); };
    node.membership = std::make_unique<Membership>(options, node.identity->keys.secret, *node.directory);
    Broadcast::Options tree;
    tree.self = options.self;
    tree.epoch = options.epoch;
    tree.deliver = [&node](BatchKind kind, NodeId origin, Bytes payload, Instant at) {
      if (kind == BatchKind::kPubSub) (void)node.pubsub->on_broadcast(origin, payload, at);
    };
    tree.members = [&node] { return node.membership->alive(); };
    tree.state_of = [&node](NodeId id) { return node.membership->state_of(id); };
    tree.round_trip = [&node](NodeId peer) { return node.membership->rtt(peer); };
    tree.least_round_trip = [&node](NodeId peer) { return node.membership->least_rtt(peer); };
    node.broadcast = std::make_unique<Broadcast>(tree, node.identity->keys.secret, *node.directory);
    node.pubsub = std::make_unique<PubSub>(options.self, *node.directory);
    (void)node.pubsub->subscribe("#", [&node](const Message& message) {
      node.got.push_back(std::string(message.topic) + "=" + std::string(as_text(message.payload)));
    });
    node.membership->start(now_);
    node.broadcast->start(now_);
    pump(i);
  }

  // SIGKILL: peers hear nothing (or, with `refused`, that nobody listens) and time their links out.
  void kill(std::size_t i, bool refused = false) {
    Node& node = nodes[i];
    node.up = false;
    node.timer_set = false;
    const auto links = node.links;
    node.links.clear();
    for (const auto& [peer, after] : links) {
      const auto reason = refused ? env::LinkDown::kRefused : env::LinkDown::kTimeout;
      at(now_ + (refused ? 300ms : 3s), [this, to = peer, i, reason] { link_down(to, i, reason); });
    }
  }

  void set_latency(Duration latency) { latency_ = latency; }

  void stall(std::size_t i, Duration time) { nodes[i].stalled_until = now_ + time; }

  // Nothing passes between the two sides until heal().
  void partition(std::set<std::size_t> side) {
    side_ = std::move(side);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const auto& [peer, after] : std::map(nodes[i].links)) {
        if (!cut(i, peer)) continue;
        at(now_ + 3s, [this, i, to = peer] {
          if (cut(i, to)) link_down(i, to, env::LinkDown::kTimeout);
        });
      }
    }
  }
  void heal() { side_.clear(); }

  void run(Duration time) {
    const Instant end = now_ + time;
    while (!queue_.empty() && queue_.begin()->first.first <= end) {
      const auto next = queue_.extract(queue_.begin());
      now_ = next.key().first;
      next.mapped()();
    }
    now_ = end;
  }

  void pump(std::size_t i) {
    Node& node = nodes[i];
    if (!node.up) return;
    for (OutgoingBatch& batch : node.pubsub->take_outgoing()) {
      (void)node.broadcast->broadcast(BatchKind::kPubSub, batch.payload, batch.reliability, batch.priority, now_);
    }
    env::Outbox out;
    node.membership->drain(out);
    node.broadcast->drain(out);
    for (env::Send& send : out.sends) transmit(i, std::move(send));
    for (const env::Dial& dial : out.dials) connect(i, dial);
    for (const env::Hangup& hangup : out.hangups) {
      const std::size_t peer = index_of(hangup.peer);
      link_down(i, peer, hangup.reason);
      at(now_ + latency_, [this, i, peer, told = env::as_told(hangup.reason)] { link_down(peer, i, told); });
    }
    std::ranges::move(out.records, std::back_inserter(node.records));
    while (auto event = node.membership->poll()) {
      node.broadcast->on_member_changed(event->id, now_);
      node.events.emplace_back(now_, *std::move(event));
    }
    arm(i);
  }

  std::size_t index_of(NodeId id) const {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].identity->id == id) return i;
    }
    return nodes.size();
  }

  // All running nodes believe exactly each other alive.
  bool one_view() const {
    std::size_t running = 0;
    for (const Node& node : nodes) running += node.up ? 1 : 0;
    std::set<std::uint64_t> digests;
    for (const Node& node : nodes) {
      if (!node.up) continue;
      if (node.membership->alive() != running) return false;
      digests.insert(node.membership->digest());
    }
    return digests.size() == 1;
  }

  std::size_t count(std::size_t i, MemberEvent::Kind kind) const {
    std::size_t n = 0;
    for (const auto& [when, event] : nodes[i].events) n += event.kind == kind ? 1 : 0;
    return n;
  }

  Fleet fleet;
  std::vector<Node> nodes;
  OverlayPolicy overlay;
  std::uint64_t dials = 0;
  std::uint64_t datagrams = 0;
  std::uint64_t frames = 0;

 private:
  static void must(bool condition) { SEDGE_ASSERT(condition); }
  void at(Instant when, std::function<void()> what) { queue_[{when, ++order_}] = std::move(what); }
  bool cut(std::size_t a, std::size_t b) const { return side_.contains(a) != side_.contains(b); }
  Duration delay() { return latency_ + Duration(static_cast<std::int64_t>(prng_.below(1'000'000))); }

  void arm(std::size_t i) {
    Node& node = nodes[i];
    const Instant due =
        std::min({node.membership->next_deadline(), node.broadcast->next_deadline(), node.pubsub->next_deadline()});
    if (due == kNever || (node.timer_set && node.timer_at <= due)) return;
    node.timer_set = true;
    node.timer_at = due;
    at(std::max(due, now_), [this, i, due] { tick(i, due); });
  }

  void tick(std::size_t i, Instant due) {
    Node& node = nodes[i];
    if (!node.up || !node.timer_set || node.timer_at != due) return;
    if (now_ < node.stalled_until) return at(node.stalled_until, [this, i, due] { tick(i, due); });
    node.timer_set = false;
    node.membership->on_timer(now_);
    node.pubsub->on_timer(now_);
    node.broadcast->on_timer(now_);
    pump(i);
  }

  void connect(std::size_t from, const env::Dial& dial) {
    ++dials;
    std::size_t to = 0;
    while (to < nodes.size() && nodes[to].address != dial.address) ++to;
    if (to == nodes.size() || !nodes[to].up || cut(from, to) || nodes[from].links.contains(to)) {
      return at(now_ + 1s, [this, from, dial] {
        if (!nodes[from].up) return;
        nodes[from].membership->on_dial_failed({dial.address, "nobody there"}, now_);
        pump(from);
      });
    }
    at(now_ + 4 * latency_, [this, from, to] {
      if (!nodes[from].up || !nodes[to].up || nodes[from].links.contains(to)) return;
      nodes[from].links[to] = nodes[to].links[from] = now_;
      for (const auto& [one, other] : {std::pair(from, to), std::pair(to, from)}) {
        must(nodes[one].directory->add(nodes[other].identity->encoded).has_value());
        const env::PeerInfo info{nodes[other].identity->id, nodes[other].address, one == from,
                                 nodes[other].identity->encoded};
        nodes[one].membership->on_link_up(info, now_);
        nodes[one].broadcast->on_link_up(info.id, now_);
      }
      pump(from);
      pump(to);
    });
  }

  void link_down(std::size_t i, std::size_t peer, env::LinkDown reason) {
    Node& node = nodes[i];
    if (!node.up || node.links.erase(peer) == 0) return;
    node.membership->on_link_down(nodes[peer].identity->id, reason, now_);
    node.broadcast->on_link_down(nodes[peer].identity->id, true, now_);
    pump(i);
  }

  void transmit(std::size_t from, env::Send send) {
    const std::size_t to = index_of(send.to);
    const auto link = nodes[from].links.find(to);
    if (link == nodes[from].links.end() || cut(from, to)) return;
    (send.frame.empty() ? nodes[from].asked : send.datagram ? datagrams : frames) += 1;
    Instant when = now_ + delay();
    if (send.datagram) {
      if (prng_.chance(loss_)) return;
    } else {
      while (prng_.chance(loss_)) when += 2 * latency_ + 30ms;  // sent again
      when = std::max(when, link->second);
      link->second = when;
    }
    at(when, [this, from, to, frame = std::move(send.frame)] { deliver(from, to, frame); });
  }

  // `to` sees that `from` lives: by an empty datagram, or by its acknowledgement.
  void show_life(std::size_t from, std::size_t to) {
    Node& node = nodes[to];
    if (!node.up || !node.links.contains(from)) return;
    if (now_ < node.stalled_until) return at(node.stalled_until, [this, from, to] { show_life(from, to); });
    node.membership->on_life(nodes[from].identity->id, now_);
    pump(to);
  }

  void deliver(std::size_t from, std::size_t to, const Buffer& bytes) {
    Node& node = nodes[to];
    if (!node.up || !node.links.contains(from)) return;
    if (now_ < node.stalled_until) return at(node.stalled_until, [this, from, to, bytes] { deliver(from, to, bytes); });
    const NodeId id = nodes[from].identity->id;
    if (bytes.empty()) {
      show_life(from, to);
      if (!cut(from, to) && !prng_.chance(loss_)) at(now_ + delay(), [this, from, to] { show_life(to, from); });
      return;
    }
    const wire::Frame frame = wire::open_frame(bytes).value();
    const bool membership = frame.type < wire::MessageType::kBroadcast;
    const Status status = membership ? node.membership->on_message(id, frame.type, frame.body, now_)
                                     : node.broadcast->on_message(id, frame.type, frame.body, now_);
    must(status.has_value());
    node.membership->on_heard(id, now_);
    pump(to);
  }

  Prng prng_;
  double loss_;
  Duration latency_;
  Instant now_{};
  std::uint64_t order_ = 0;
  std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> queue_;
  std::set<std::size_t> side_;
};

}  // namespace sedge::mesh::test
