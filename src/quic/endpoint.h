// A QUIC endpoint without a socket or a clock: datagrams and `now` go in, datagrams, events and the next deadline come
// out. It holds all links of one node over one UDP port, dialled and accepted, and gives the upper seam of env/link.h:
// reliable frames by priority, and datagrams. ngtcp2 speaks QUIC, GnuTLS speaks TLS 1.3; both are driven from here.
//
// Who gets in. Both sides show a certificate chain of the fleet inside the handshake (quic/tls.h); a stranger, another
// fleet's node or a revoked one fails there, and nothing it sends reaches an event. A link is announced when its
// handshake is *confirmed*: a dialler completes before the other side may have refused it.
//
// One link between two nodes. Where both dial at once the link dialled by the smaller id stays; of two dials by one
// side the dialler keeps its first. Each endpoint draws an instance number at start and shows it with its boot epoch
// in the handshake: a newer epoch replaces the link of the process that it follows; an equal or older epoch from
// another instance is a second process with the same key, refused and reported as Clone.
//
// What it costs a flood. Half-open handshakes are bounded; past half of the bound a newcomer must first show that it
// receives at its address (Retry); past the bound it is dropped. Every queue is bounded.
//
// Rejected: a socket inside (no simulation), a thread a link, one stream a message (a stream's state costs more than a
// 64-byte message), TCP + TLS (head-of-line blocking between priorities).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/entropy.h"
#include "env/link.h"
#include "env/network.h"
#include "env/outbox.h"
#include "trust/directory.h"
#include "trust/invitation.h"
#include "trust/join.h"
#include "trust/keys.h"
#include "trust/rotation.h"

namespace sedge::quic {

struct Limits {
  Duration keep_alive = 800ms;     // after so long without hearing anything, a ping
  Duration idle_timeout = 2000ms;  // with the ping: a dead process is noticed within 2.8 s
  Duration handshake_timeout = 3s;
  Duration join_timeout = 10s;     // a whole join exchange: the issuer writes to its disk in between
  Duration drain_timeout = 500ms;  // close_all: how long queued frames may still leave
  std::size_t queue_bytes_max = env::kLinkQueueBytesMax;  // reliable bytes queued or unacknowledged, one link
  std::size_t datagram_bytes_max = 256u << 10;            // queued datagrams, one link; the oldest fall out
  std::size_t half_open_max = 128;  // accepted handshakes not yet confirmed; Retry from half of it on
  std::size_t half_open_per_address = 16;
  std::size_t links_max = 1024;
  std::size_t joins_max = 8;
};

struct Options {
  trust::SecretKey key;  // of the node
  Buffer chain;          // its certificate chain; empty: this endpoint can only join
  BootEpoch boot_epoch;
  const trust::Directory* directory = nullptr;  // outlives the endpoint; null when only joining
  env::Entropy* entropy = nullptr;              // outlives the endpoint
  bool accept_joins = false;                    // issuers: answer sedge-join/1
  Limits limits;
};

// --- what poll() gives ---
struct LinkUp {
  env::PeerInfo peer;
  BootEpoch boot_epoch;  // of the peer, as shown in the handshake
};
struct LinkDown {
  NodeId peer;
  env::LinkDown reason;
};
struct FrameIn {
  NodeId from;
  env::Priority priority;
  Buffer frame;
};
struct DatagramIn {
  NodeId from;
  Buffer payload;  // empty: a sign of life, asked for by the peer or by us
};
struct DialFailed {
  env::DialFailure failure;
};
// Two processes with one key: `kept` has the link, `refused` wanted another.
struct Clone {
  NodeId peer;
  env::Endpoint kept;
  env::Endpoint refused;
};
using JoinHandle = std::uint64_t;
// On the issuer: answer with answer_join. The request is decoded, nothing about it is checked yet.
struct JoinRequestIn {
  JoinHandle handle;
  trust::JoinRequest request;
  trust::Exporter exporter;
  std::optional<trust::Rotation> rotation;  // it is a member already, and wants a new key
};
// On the joiner: the grant is checked; write the home and start. Otherwise DialFailed says why.
struct JoinGranted {
  trust::JoinGrant grant;
};
using Event = std::variant<LinkUp, LinkDown, FrameIn, DatagramIn, DialFailed, Clone, JoinRequestIn, JoinGranted>;

struct Counters {
  std::uint64_t datagrams_in = 0;
  std::uint64_t datagrams_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t malformed = 0;           // not QUIC, or not for us
  std::uint64_t handshakes_refused = 0;  // strangers, other fleets, revoked nodes, protocol errors before confirmation
  std::uint64_t handshakes_dropped = 0;  // over the half-open bound
  std::uint64_t retries_sent = 0;
  std::uint64_t resets_sent = 0;
  std::uint64_t queued_datagrams_dropped = 0;
};

class Endpoint {
 public:
  // Errors: InvalidArgument: the chain is not one for this key.
  static Result<std::unique_ptr<Endpoint>> create(Options options);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  NodeId self() const;

  // Ends in LinkUp or DialFailed. Errors: AlreadyExists: linked to `expected`, or dialling that address, already.
  // FailedPrecondition: no certificate, or closing. ResourceExhausted: too many links.
  Status dial(const env::Dial& dial, Instant now);
  // Ends in JoinGranted or DialFailed. `rotation`: of a member that wants its certificate for a new key.
  Status dial_join(const env::Endpoint& address, const trust::Invitation& invitation, std::string_view name,
                   Instant now, std::optional<trust::Rotation> rotation = std::nullopt);
  // Errors: NotFound: the joiner went away; its retry will come on a new connection.
  Status answer_join(JoinHandle handle, const std::variant<trust::JoinGrant, trust::JoinRefusal>& answer, Instant now);

  void on_datagram(const env::IncomingDatagram& datagram, Instant now);
  // The network said that nobody listens there. A dial fails at once; a link is asked for a sign of life first, because
  // such messages can be forged.
  void on_unreachable(const env::Endpoint& remote, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;

  // Call until false; `out.payload` is valid until the next call into the endpoint.
  bool next_datagrams(env::OutgoingDatagrams& out, Instant now);

  // Errors: Unavailable: no link. ResourceExhausted: the queue is at its bound (hang up with kTooSlow).
  // InvalidArgument: larger than env::kFrameBytesMax (kDatagramBytesMax). An empty datagram asks for a sign of life.
  Status send(NodeId to, env::Priority priority, Buffer frame, Instant now);
  Status send_datagram(NodeId to, Buffer payload, Instant now);

  // Ends in a LinkDown with that reason, on both sides where the reason is the peer's business.
  void hangup(NodeId peer, env::LinkDown reason, Instant now);
  // No new links; queued frames leave within drain_timeout, then every link says goodbye.
  void close_all(Instant now);
  bool closed() const;  // after close_all: nothing is left to send

  std::optional<Event> poll();

  bool linked(NodeId peer) const;
  env::LinkStats stats(NodeId peer) const;                 // zeros where there is no link
  void backlog(std::vector<env::LinkBacklog>& out) const;  // of all links on which anything waits
  void link_bytes(std::vector<env::LinkBytes>& out) const;
  env::AnswersWaiting answers_waiting(NodeId peer) const;  // unsent; what is under way does not wait
  const Counters& counters() const;
  // Connections of any state, and half-open ones: what a flood can raise, for tests and metrics.
  std::size_t connections() const;
  std::size_t half_open() const;

 private:
  class Core;
  explicit Endpoint(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace sedge::quic
