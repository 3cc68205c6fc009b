// A whole node with two members on its links, of whom one sends any bytes at any time: it answers, refuses or hangs up,
// and what it wants to send in return stays bounded. The input is a list of steps:
//   step = 0..3 length:2 bytes LE  bytes     a frame from the neighbour
//        | 4    n:1 byte                     n squared milliseconds pass
//        | 5    length:2 bytes LE  bytes     a beacon
//        | 6                                 the disk has all it was given
//        | 7                                 the neighbour's link falls, or is there again
// (of the first byte its lowest three bits). Keys come from a fixed seed, so that frames in the corpus are signed.
#include <cstdint>
#include <cstdlib>

#include <fmt/format.h>

#include "node/node.h"
#include "trust/testing.h"

namespace {

using namespace sedge;

constexpr std::size_t kStepsMax = 256;
constexpr std::size_t kOwedMax = 96u << 20;  // a burst of asks, each answered with at most a frame and a bit

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

const Fleet& fleet() {
  static const Fleet kFleet;
  return kFleet;
}

env::PeerInfo peer(const trust::testing::Member& member, std::uint8_t host) {
  return {member.id, env::Endpoint::v4(10, 0, 0, host, 7334), host == 2, member.encoded};
}

// Says at the end how many frames there were, of all inputs, and how many of them were refused.
struct Tally {
  std::uint64_t frames = 0, refused = 0;
  ~Tally() { fmt::print(stderr, "node_frames: {} frames, {} refused\n", frames, refused); }
} tally;

struct World {
  World() : directory(fleet().root.public_key) {
    if (!directory.add(fleet().rover.encoded)) std::abort();
    node::NodeOptions options;
    options.name = "rover";
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
  std::optional<node::Node> node;
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  world.flip_link();
  Steps steps{{data, size}};
  for (std::size_t i = 0; i < kStepsMax; ++i) {
    const auto step = steps.take(1);
    if (!step) break;
    const unsigned what = (*step)[0] & 7u;
    if (what <= 3 || what == 5) {
      const auto bytes = steps.block();
      if (!bytes) break;
      tally.frames += what <= 3 && world.linked ? 1 : 0;
      if (what == 5)
        world.node->on_beacon(env::Endpoint::v4(10, 0, 0, 9, 7337), *bytes, world.now);
      else if (world.linked)
        world.node->on_frame(fleet().liar.id, *bytes, {}, world.now);
    } else if (what == 4) {
      const auto n = steps.take(1);
      if (!n) break;
      world.now += Duration(1ms) * ((*n)[0] * (*n)[0]);
    } else if (what == 6) {
      world.node->on_durable(world.lsn, world.now);
    } else {
      world.flip_link();
    }
    world.settle();
  }
  tally.refused += world.node->stats().frames_refused;
  return 0;
}
