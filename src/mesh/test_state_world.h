// A small fleet of StateSync alone, for its tests: directories, disks that take 3 ms and lose what was on its way,
// links of 1 to 5 ms, everything on virtual time.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "mesh/state_sync.h"
#include "trust/certificate.h"
#include "trust/revocation.h"
#include "wire/codec.h"

namespace sedge::mesh::state_test {

using crdt::Dot;
using crdt::Hlc;
using crdt::Op;
using crdt::OpKind;
using Values = std::vector<Buffer>;

inline Buffer text(std::string_view words) { return to_buffer(as_bytes(words)); }

inline trust::Seed seed_of(std::uint8_t number) { return {number, 77}; }

struct Identity {
  trust::KeyPair key;
  NodeId id;
  Buffer chain;
};

// Root, issuer, and whoever is enrolled.
struct Authority {
  trust::KeyPair root = trust::KeyPair::from_seed(seed_of(1));
  trust::KeyPair issuer = trust::KeyPair::from_seed(seed_of(2));
  trust::Certificate issuer_certificate;

  Authority() {
    issuer_certificate.role = trust::Role::kIssuer;
    issuer_certificate.subject = issuer.public_key;
    issuer_certificate.name = "issuer";
    issuer_certificate.grants = trust::Grants::of_an_issuer();
    issuer_certificate.fleet = trust::fingerprint(root.public_key);
    trust::sign_certificate(issuer_certificate, root.secret);
  }

  Identity enrol(std::size_t number, const trust::Grants& grants = trust::Grants::of_a_node()) const {
    Identity one{trust::KeyPair::from_seed(seed_of(static_cast<std::uint8_t>(100 + number))), {}, {}};
    trust::CertificateChain chain{issuer_certificate, {}};
    chain.node.subject = one.key.public_key;
    chain.node.name = fmt::format("node-{}", number);
    chain.node.grants = grants;
    chain.node.fleet = issuer_certificate.fleet;
    trust::sign_certificate(chain.node, issuer.secret);
    one.id = trust::node_id_of(one.key.public_key);
    one.chain = trust::encode_chain(chain);
    return one;
  }

  trust::Revocation revoke(NodeId subject, trust::Cut cut) const {
    trust::Revocation revocation;
    revocation.subject = subject;
    revocation.cut = cut;
    trust::sign_revocation(revocation, root.secret);
    return revocation;
  }
};

struct Node {
  explicit Node(Identity who, const trust::PublicKey& root) : identity(std::move(who)), directory(root) {}

  Identity identity;
  trust::Directory directory;
  std::uint64_t epoch = 0;
  std::map<std::pair<std::string, Buffer>, Buffer> disk;
  struct Batch {
    env::Lsn lsn;
    Instant due;
    std::vector<env::Record> records;
  };
  std::deque<Batch> writing;
  env::Lsn lsn;
  std::unique_ptr<StateSync> sync;
  std::map<std::uint64_t, std::vector<bool>> done;  // ticket -> outcomes
  std::vector<std::string> reports;
  std::vector<std::string> changed;

  void write_down(const Batch& batch) {
    for (const env::Record& record : batch.records) {
      if (record.erase) {
        disk.erase({record.bucket, record.key});
      } else {
        disk[{record.bucket, record.key}] = record.value;
      }
    }
  }
};

// Nodes with disks that take 3 ms and links of 1 to 5 ms, full mesh unless cut; every message may be lost.
class World {
 public:
  explicit World(std::size_t count, std::uint64_t seed = 1, StateSync::Options options = {})
      : base(options), prng(seed) {
    for (std::size_t i = 0; i < count; ++i) add(authority.enrol(i));
    for (auto& node : nodes) boot(*node);
    for (std::size_t i = 0; i < count; ++i) link_all(i);
  }

  Node& add(Identity who) {
    nodes.push_back(std::make_unique<Node>(std::move(who), authority.root.public_key));
    for (auto& one : nodes) {
      for (auto& other : nodes) SEDGE_ASSERT(one->directory.add(other->identity.chain));
    }
    return *nodes.back();
  }

  void boot(Node& node) {
    StateSync::Options options = base;
    options.self = node.identity.id;
    options.epoch = {++node.epoch};
    options.seed = prng.next();
    node.done.clear();
    node.sync = std::make_unique<StateSync>(options, node.identity.key.secret, node.directory);
    node.sync->hooks.done = [&node](Ticket ticket, const Status& status) {
      node.done[ticket.value].push_back(status.has_value());
    };
    node.sync->hooks.changed = [&node](const std::string& path, NodeId) { node.changed.push_back(path); };
    node.sync->hooks.enrolled = [this] { return nodes.size() - 1; };
    node.sync->hooks.report = [&node](const std::string& words) { node.reports.push_back(words); };
    node.sync->hooks.learn_chain = [&node](Bytes chain) -> Status {
      SEDGE_CHECK(node.directory.add(chain));
      return {};
    };
    for (const auto& [key, value] : node.disk) SEDGE_ASSERT(node.sync->load(key.first, key.second, value));
    node.sync->start(now);
  }

  void link_all(std::size_t i) {
    for (std::size_t j = 0; j < nodes.size(); ++j) {
      if (i == j || !nodes[j]->sync || cut.contains({std::min(i, j), std::max(i, j)})) continue;
      nodes[i]->sync->on_link_up(nodes[j]->identity.id, now);
      nodes[j]->sync->on_link_up(nodes[i]->identity.id, now);
    }
  }

  void unlink(std::size_t i, std::size_t j) {
    cut.insert({std::min(i, j), std::max(i, j)});
    if (nodes[i]->sync) nodes[i]->sync->on_link_down(nodes[j]->identity.id, now);
    if (nodes[j]->sync) nodes[j]->sync->on_link_down(nodes[i]->identity.id, now);
  }

  // SIGKILL: of the batches on their way to the disk any number of the first are there.
  void kill(std::size_t i) {
    Node& node = *nodes[i];
    const std::size_t kept = prng.below(node.writing.size() + 1);
    for (std::size_t n = 0; n < kept; ++n) node.write_down(node.writing[n]);
    node.writing.clear();
    node.sync.reset();
    for (std::size_t j = 0; j < nodes.size(); ++j) {
      if (j != i && nodes[j]->sync) nodes[j]->sync->on_link_down(node.identity.id, now);
    }
  }
  void revive(std::size_t i) {
    boot(*nodes[i]);
    link_all(i);
  }

  void run(Duration time) {
    for (const Instant until = now + time; now < until; now += 1ms) step();
  }

  // As two that compare: without the tombstones that one of them has collected.
  bool converged() const {
    std::uint64_t frontier_ms = 0;
    for (const auto& node : nodes) {
      if (node->sync) frontier_ms = std::max(frontier_ms, node->sync->frontier_ms());
    }
    return std::ranges::all_of(nodes, [&](const auto& node) {
      return !node->sync || node->sync->digest_at(frontier_ms) == live().sync->digest_at(frontier_ms);
    });
  }
  const Node& live() const {
    return **std::ranges::find_if(nodes, [](const auto& node) { return node->sync != nullptr; });
  }

  StateSync& at(std::size_t i) { return *nodes[i]->sync; }
  Node& node(std::size_t i) { return *nodes[i]; }

  Authority authority;
  StateSync::Options base;
  Prng prng;
  Instant now{};
  double loss = 0;
  double broadcast_loss = 0;
  std::size_t frames = 0, frame_bytes = 0, broadcasts = 0;
  std::vector<std::unique_ptr<Node>> nodes;
  std::set<std::pair<std::size_t, std::size_t>> cut;

 private:
  struct Message {
    std::size_t from, to;
    bool broadcast;
    Buffer bytes;
  };

  void post(std::size_t from, std::size_t to, bool broadcast, Buffer bytes) {
    if (cut.contains({std::min(from, to), std::max(from, to)})) return;
    if (prng.chance(loss) || (broadcast && prng.chance(broadcast_loss))) return;
    wire_.emplace(now + Duration(1ms) * static_cast<std::int64_t>(1 + prng.below(5)),
                  Message{from, to, broadcast, std::move(bytes)});
  }

  std::size_t index_of(NodeId id) const {
    const auto is = [&](const auto& node) { return node->identity.id == id; };
    return static_cast<std::size_t>(std::ranges::find_if(nodes, is) - nodes.begin());
  }

  void step() {
    for (auto& node : nodes) {
      while (!node->writing.empty() && node->writing.front().due <= now) {
        const Node::Batch batch = std::move(node->writing.front());
        node->writing.pop_front();
        node->write_down(batch);
        node->sync->on_durable(batch.lsn, now);
      }
    }
    while (!wire_.empty() && wire_.begin()->first <= now) {
      const Message message = std::move(wire_.extract(wire_.begin()).mapped());
      if (nodes[message.to]->sync) deliver(message);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i]->sync) pump(i);
    }
  }

  void deliver(const Message& message) {
    StateSync& sync = at(message.to);
    const NodeId from = nodes[message.from]->identity.id;
    if (message.broadcast) {
      static_cast<void>(sync.on_broadcast(from, message.bytes, now));
    } else {
      const auto frame = wire::open_frame(message.bytes).value();
      static_cast<void>(sync.on_message(from, frame.type, frame.body, now));
    }
  }

  void pump(std::size_t i) {
    Node& node = *nodes[i];
    if (node.sync->next_deadline() <= now) node.sync->on_timer(now);
    for (const Buffer& batch : node.sync->take_outgoing()) {
      ++broadcasts;
      for (std::size_t j = 0; j < nodes.size(); ++j) {
        if (j != i) post(i, j, true, batch);
      }
    }
    env::Outbox out;
    node.sync->drain(out);
    for (env::Send& send : out.sends) {
      ++frames;
      frame_bytes += send.frame.size();
      SEDGE_ASSERT(send.frame.size() <= env::kFrameBytesMax);
      post(i, index_of(send.to), false, std::move(send.frame));
    }
    if (out.records.empty()) return;
    ++node.lsn;
    node.sync->on_persisting(node.lsn);
    node.writing.push_back({node.lsn, now + 3ms, std::move(out.records)});
  }

  std::multimap<Instant, Message> wire_;
};

inline Values values(const StateSync& sync, std::string_view path) {
  const auto value = sync.replica().read(path);
  return value ? value->values : Values{};
}

// A write as `who` would sign it.
inline Op signed_op(const Identity& who, std::uint64_t sequence, std::string_view path, std::uint64_t ms) {
  Op op;
  op.dot = {who.id, {1}, {sequence}};
  op.stamp = Hlc::at_ms(ms);
  op.path = path;
  op.value = text("x");
  crdt::sign_op(op, who.key.secret);
  return op;
}
inline Buffer batch_of(const std::vector<Op>& ops) {
  wire::StateOps message;
  for (const Op& op : ops) message.ops.push_back(crdt::encode_op(op));
  return wire::encode(message);
}

}  // namespace sedge::mesh::state_test
