// The upper network seam: authenticated links between nodes. Protocol cores speak to this; QUIC gives it on a robot
// (quic/), a table of latencies and losses gives it in a large simulation (sim/). A link carries
//   frames     reliable, in order within one priority, urgent ones first; at most kFrameBytesMax each
//   datagrams  best effort, at most kDatagramBytesMax each. An empty one is a sign of life, and asks for one: the other
//              end's link acknowledges it, and that it did arrives as an empty datagram too
// There is at most one link between two nodes: where both dialled at once, the one dialled by the smaller id stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "base/time.h"
#include "env/endpoint.h"

namespace sedge::env {

inline constexpr std::size_t kFrameBytesMax = 1u << 20;
inline constexpr std::size_t kDatagramBytesMax = 1100;  // fits the smallest QUIC packet (1200) with its overhead
// Reliable bytes that may wait on one link; beyond them it is cut as too slow.
inline constexpr std::size_t kLinkQueueBytesMax = 8u << 20;

// Smaller is more urgent. One QUIC stream each way for each; an urgent frame never waits behind a bulk one.
enum class Priority : std::uint8_t {
  kControl = 0,
  kTask = 1,
  kUrgent = 2,
  kState = 3,
  kNormal = 4,
  kLow = 5,
  kBulk = 6,
  kIdle = 7
};
inline constexpr std::size_t kPriorities = 8;

// Bytes that may wait on a link when a node still takes a publication. The less urgent stop first, so that bulk never
// takes an urgent message's room. What others are to pass on must find room with them, beside what their other
// neighbours send (six of them, at relays one behind the other): so of that less may wait.
constexpr std::size_t publish_backlog_max(Priority priority, bool relayed) {
  const std::size_t part = priority <= Priority::kUrgent ? 6 : priority <= Priority::kNormal ? 4 : 2;
  return kLinkQueueBytesMax / 8 * part / (relayed ? 16 : 1);
}

struct PeerInfo {
  NodeId id;
  Endpoint address;  // as we see it
  bool dialled_by_us = false;
  Buffer certificate_chain;  // as proved in the handshake (docs/formats/certificate.md)
};

enum class LinkDown : std::uint8_t {
  kClosed,    // the peer said goodbye: it is leaving, or preferred another link
  kTimeout,   // nothing heard for the idle timeout
  kRefused,   // the peer's address answered that nobody listens
  kReplaced,  // two links met; the other one stays
  kTooSlow,   // its queue of reliable frames was full: the state will be synchronized again on a new link
  kRevoked,   // its certificate was withdrawn
  kProtocol,  // it sent what no honest peer sends
  kParted,    // one link too many, closed on purpose: says nothing about the peer
};

inline std::string_view reason_name(LinkDown reason) {
  constexpr std::string_view kNames[] = {"closed",   "timed out", "nobody listens", "replaced",
                                         "too slow", "revoked",   "protocol",       "one too many"};
  return kNames[static_cast<std::size_t>(reason)];
}

// What the other end is told of why we closed: what concerns the link as it is, our verdict on the peer as a goodbye.
inline LinkDown as_told(LinkDown reason) {
  const bool about_link = reason == LinkDown::kReplaced || reason == LinkDown::kTooSlow || reason == LinkDown::kParted;
  return about_link ? reason : LinkDown::kClosed;
}

struct LinkStats {
  Duration rtt{};
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::size_t queued_bytes = 0;
};

// A link on which reliable bytes wait: all that were not acknowledged, and those of them that have not left yet.
struct LinkBacklog {
  NodeId peer;
  std::size_t queued = 0;
  std::size_t unsent = 0;
};

// What a link has carried since it came up.
struct LinkBytes {
  NodeId peer;
  std::uint64_t arrived = 0;  // of what we sent, as far as is known
  std::uint64_t received = 0;
  Instant heard{};  // when anything last arrived, either way
};

// Bytes of these two priorities that wait on a link: what a neighbour's questions made.
struct AnswersWaiting {
  std::size_t control = 0, state = 0;
};

// Why a dial came to nothing; the address is what was dialled.
struct DialFailure {
  Endpoint address;
  std::string reason;
};

}  // namespace sedge::env
