// A whole node with two members on its links, of whom one, the liar, sends what it likes: for the fuzzer and for tests.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>

#include "node/node.h"
#include "trust/testing.h"

namespace sedge::node::frames {

inline constexpr std::size_t kOwedMax = 96u << 20;  // a burst of asks, each answered with at most a frame and a bit

struct Source final : env::Entropy {
  void fill(MutableBytes out) override { seeded.fill(out); }
  trust::testing::SeededSource seeded{2};
};

struct Engine final : env::Compute {
  std::vector<env::ModelOffer> offers() const override { return {{"m", "hash", "class", 1, 512, 100, 10}}; }
  std::uint32_t workers() const override { return 1; }
  void start(TaskId, env::JobSpec) override {}
  void run(TaskId, std::uint32_t, env::Urgency) override {}
  void release(TaskId) override {}
};

struct Fleet : trust::testing::Fleet {
  Fleet() : trust::testing::Fleet(1) {}
  trust::testing::Member rover = enrol("rover"), liar = enrol("liar"), drone = enrol("drone");
};

inline const Fleet& fleet() {
  static const Fleet kFleet;
  return kFleet;
}

inline env::PeerInfo peer(const trust::testing::Member& member, std::uint8_t host) {
  return {member.id, env::Endpoint::v4(10, 0, 0, host, 7334), host == 2, member.encoded};
}

// Aborts where the node wants to send too much, or to hang up on anybody but the liar.
struct World {
  explicit World(PeerMeter::Options meter = {}) : directory(fleet().root.public_key) {
    if (!directory.add(fleet().rover.encoded)) std::abort();
    NodeOptions options;
    options.name = "rover";
    options.meter = meter;
    options.epoch = {3};
    options.endpoints = {env::Endpoint::v4(10, 0, 0, 1, 7334)};
    options.fleet_secret = fleet().secret;
    node.emplace(std::move(options), fleet().rover.keys.secret.clone(), directory, entropy, engine);
    node->start(now);
    node->on_link_up(peer(fleet().drone, 3), now);
    settle();
  }

  void settle() {
    for (int i = 0; i < 64 && node->next_deadline() <= now; ++i) node->on_timer(now);
    env::Outbox out;
    node->drain(out, now);
    std::size_t owed = 0;
    for (const env::Send& send : out.sends) {
      if ((send.frame.empty() && !send.datagram) || send.frame.size() > env::kFrameBytesMax) std::abort();
      owed += send.frame.size();
    }
    if (owed > kOwedMax) std::abort();
    if (!out.records.empty()) lsn = out.lsn;
    for (const env::Hangup& hangup : out.hangups) {
      if (hangup.peer != fleet().liar.id) std::abort();  // nobody pays for another's lies
      if (linked) node->on_link_down(hangup.peer, hangup.reason, now);
      linked = false;
    }
  }

  void flip_link() {
    linked = !linked;
    if (linked)
      node->on_link_up(peer(fleet().liar, 2), now);
    else
      node->on_link_down(fleet().liar.id, env::LinkDown::kClosed, now);
  }

  trust::Directory directory;
  Source entropy;
  Engine engine;
  std::optional<Node> node;
  Instant now = Instant{} + 100s;
  env::Lsn lsn;
  bool linked = false;
};

// Reads the steps; what is cut short ends them.
struct Steps {
  Bytes rest;
  std::optional<Bytes> take(std::size_t count) {
    if (rest.size() < count) return std::nullopt;
    const Bytes bytes = rest.first(count);
    rest = rest.subspan(count);
    return bytes;
  }
  std::optional<Bytes> block() {
    const auto length = take(2);
    if (!length) return std::nullopt;
    return take(std::min(std::size_t{(*length)[0]} | std::size_t{(*length)[1]} << 8, rest.size()));
  }
};

}  // namespace sedge::node::frames
