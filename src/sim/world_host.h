// The inside of sim/world.h: a host with its node, and the links that are modelled. Split by thought: world.cc has the
// lives of nodes and time, world_links.cc the links as a table of latencies and losses, world_quic.cc the same links as
// real QUIC over simulated datagrams.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quic/endpoint.h"
#include "sim/world.h"
#include "store/store.h"

namespace sedge::sim {

inline constexpr Duration kSweepInterval = 100ms;
inline constexpr std::uint64_t kPacketOverhead = 60;  // bytes that a modelled packet has beside its payload
inline constexpr std::uint64_t kInitialBytes = 1200 + kPacketOverhead;  // QUIC pads the first packet of a dial

class SimEntropy final : public env::Entropy {
 public:
  explicit SimEntropy(std::uint64_t seed) : prng_(seed) {}
  void fill(MutableBytes out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(prng_.next() >> 56);
  }

 private:
  Prng prng_;
};

inline env::Endpoint address_of(std::size_t i) {
  return env::Endpoint::v4(10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                           static_cast<std::uint8_t>(i), 7334);
}

// Which host has this address, if one of `count` does.
inline std::optional<std::size_t> host_at(const env::Endpoint& address, std::size_t count) {
  const std::uint8_t* const v4 = address.address.data() + 12;
  const std::size_t i = std::size_t{v4[1]} << 16 | std::size_t{v4[2]} << 8 | v4[3];
  if (i >= count || address != address_of(i)) return std::nullopt;
  return i;
}

struct World::Pipe {
  bool up = true;                                // the end that sends
  env::LinkDown told = env::LinkDown::kClosed;   // by this end, once it is down: what QUIC answers whoever still sends
  std::uint64_t carried = 0;                     // bytes that have arrived,
  Instant carried_at{};                          // the last of them then
  Instant heard{};                               // by the end that sends, of the other
  std::array<Instant, env::kPriorities> free{};  // when the wire is free for a priority
  std::array<Instant, env::kPriorities> arrived{};  // frames of a priority arrive in order
  std::vector<env::Send> blocked;                   // frames sent into a cut
  bool bad = false;                                 // in a burst of losses
  Instant bad_changes{};
};

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
  bool found = false;                                            // somebody, in this life
  std::function<bool(std::size_t, const env::Send&)> passes;     // of a member that lies
  double bytes_per_s = std::numeric_limits<double>::infinity();  // of each of its links, at most
  double x = 0, y = 0;                         // its place, in a square that is 1 from corner to corner
  std::map<std::size_t, std::uint64_t> links;  // by peer: the link that this end uses
  Instant busy_until{};                        // of its links, the longest; or longer, where one has gone since
  Instant link_bytes_said{};
  std::map<std::size_t, Pipe> ways;  // over QUIC: to each other host

  std::unique_ptr<store::Store> store;
  std::unique_ptr<trust::Directory> directory;
  std::unique_ptr<SimEntropy> entropy;
  std::unique_ptr<SimCompute> compute;
  std::unique_ptr<node::Node> node;
  std::unique_ptr<quic::Endpoint> endpoint;  // over QUIC
};

struct World::Link {
  std::array<std::size_t, 2> ends{};
  std::array<Pipe, 2> pipes;
  Pipe& from(std::size_t end) { return pipes[end == ends[0] ? 0 : 1]; }
  std::size_t other(std::size_t end) const { return end == ends[0] ? ends[1] : ends[0]; }
};

}  // namespace sedge::sim
