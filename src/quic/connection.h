// One QUIC connection: ngtcp2's state machine, its TLS session, and our eight streams each way. It knows nothing of
// other connections; the endpoint (quic/endpoint.cc) routes datagrams to it, decides whether its peer may stay, and
// takes out what arrived. ngtcp2's callbacks only note what happened, because nothing may be destroyed inside one.
//
// Flow control is the bound on what a peer can make us hold: the credit of a frame is given back when the frame leaves
// poll(), never before.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ngtcp2/ngtcp2.h>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/endpoint.h"
#include "env/entropy.h"
#include "env/link.h"
#include "quic/endpoint.h"
#include "quic/streams.h"
#include "quic/tls.h"
#include "trust/invitation.h"
#include "trust/rotation.h"

namespace sedge::quic {

class Connection;

inline constexpr std::size_t kCidBytes = 8;           // of ours; enough not to be guessed, and short in every packet
inline constexpr std::size_t kPacketBytesMax = 8952;  // path MTU discovery goes no further: jumbo frames with IPv6
inline constexpr std::size_t kBatchBytesMax = 65507;  // what one call can hand to the kernel

using Cid = std::array<std::uint8_t, 20>;  // zero-padded
Cid to_cid(Bytes bytes);

// What a peer writes to be shown to a person: printable ASCII, and not much of it.
std::string printable(std::string_view text);

// Which connection a packet belongs to. Ordered, so that a stranger who chooses ids cannot make it slow.
using Router = std::map<Cid, Connection*>;

// What all connections of an endpoint share.
struct Shared {
  Limits limits;
  env::Entropy* entropy = nullptr;
  std::array<std::uint8_t, 32> reset_key{};  // derived from the node's key: a restarted node resets its old links
  TlsCredentials* credentials = nullptr;
  Router router;
};

// IPv6 form with IPv4 mapped, as ngtcp2 compares and echoes it. The local side stays unspecified for ngtcp2: which of
// our addresses a peer reached is for the reply only, and a peer that reaches another one has not moved.
struct Path {
  explicit Path(const env::Endpoint& remote);
  ngtcp2_path view();
  ngtcp2_sockaddr_union local;
  ngtcp2_sockaddr_union remote;
};
env::Endpoint endpoint_of(const ngtcp2_addr& address);

inline ngtcp2_tstamp timestamp(Instant now) { return static_cast<ngtcp2_tstamp>(now.time_since_epoch().count()); }

// The end of a connection as one code on the wire: env::LinkDown, then ours.
inline constexpr std::uint64_t kCloseJoined = 32;
inline constexpr std::uint64_t kCloseRefused = 33;  // of a join: the reason is in the phrase

// Packets of one connection, back to back and of one size but for the last.
struct Batch {
  env::Endpoint remote;
  env::Endpoint local;
  std::uint8_t ecn = 0;
  std::size_t segment_bytes = 0;
  std::size_t begin = 0;  // in the endpoint's buffer
  std::size_t end = 0;
};

class Connection : private PeerCheck {
 public:
  // Decides about a peer's proof once it is known to hold its key (endpoint.cc).
  using Admission = std::function<Status(Connection&, const PeerProof&)>;

  struct DialOptions {
    env::Endpoint remote;
    NodeId expected;
    Protocol protocol = Protocol::kLink;
    std::optional<trust::Invitation> invitation;
    std::string join_name;
    std::optional<trust::Rotation> rotation;  // of a joiner that has a former id
  };
  static Result<std::unique_ptr<Connection>> dial(Shared& shared, std::uint64_t number, DialOptions options,
                                                  Admission admission, Instant now);
  struct AcceptOptions {
    env::Endpoint remote;
    env::Endpoint local;
    ngtcp2_pkt_hd header{};
    std::optional<ngtcp2_cid> original_dcid;  // after a Retry
  };
  static Result<std::unique_ptr<Connection>> accept(Shared& shared, std::uint64_t number, const AcceptOptions& options,
                                                    Admission admission, Instant now);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // --- driving ---
  void read(const env::IncomingDatagram& datagram, Instant now);
  void expire(Instant now);
  // Appends packets to buffer[batch.end..]; false when nothing is to be sent now. `spill` gets a packet that does not
  // fit the batch (a larger probe, another path) and must go in the next one.
  bool write(MutableBytes buffer, Batch& batch, Batch& spill, Instant now);
  // Ends it with one packet to the peer, if it can be told. `phrase` goes to the peer with it.
  void close(std::uint64_t code, std::string_view phrase, Instant now);
  Instant deadline() const;

  // --- what happened ---
  bool confirmed() const { return confirmed_; }
  bool failed() const { return failed_; }
  env::LinkDown down_reason() const { return down_reason_; }
  // Why a dial failed, in words; empty while it has not.
  const std::string& failure() const { return failure_; }

  struct Arrival {
    bool datagram = false;
    env::Priority priority{};
    Buffer bytes;
    std::size_t credit = 0;
  };
  std::vector<Arrival>& arrivals() { return arrivals_; }
  // Words for a dial that ended for a reason above the connection's own.
  void blame(std::string why) { failure_ = std::move(why); }
  // A frame left poll(): its bytes may come again.
  void give_credit(env::Priority priority, std::size_t bytes);

  // --- sending ---
  std::size_t queued_bytes() const { return queued_bytes_; }
  std::size_t unsent_bytes(env::Priority priority) const { return out_[static_cast<std::size_t>(priority)].unsent(); }
  std::uint64_t bytes_acked() const { return bytes_acked_; }  // of streams
  Instant heard() const { return heard_; }                    // when any of what arrives last did
  std::uint64_t bytes_received() const { return bytes_received_; }
  std::size_t unsent_bytes() const;  // of all priorities
  void push(env::Priority priority, Buffer frame);
  void push_raw(env::Priority priority, Buffer bytes);  // tests: bytes that need not be a frame
  std::uint64_t push_datagram(Buffer payload);          // returns how many older ones fell out
  // A packet that a living peer acknowledges: at both ends it arrives as an empty datagram. One at a time.
  void ask_for_life() { life_wanted_ = true; }
  void demand_life(Instant now);  // and it had better come: else the link falls as one where nobody listens

  // --- facts ---
  std::uint64_t number() const { return number_; }
  bool dialled() const { return dial_.has_value(); }
  const DialOptions& dial_options() const { return *dial_; }
  const env::Endpoint& remote() const { return remote_; }
  const env::Endpoint& local() const { return local_; }
  const std::optional<PeerProof>& proof() const { return proof_; }
  NodeId peer() const { return peer_; }
  Protocol protocol() const { return proof_ ? proof_->protocol : dial_ ? dial_->protocol : Protocol::kLink; }
  Instant created() const { return created_; }
  Result<trust::Exporter> join_exporter() const { return tls_->join_exporter(); }
  env::LinkStats stats() const;

  // The packet that ended it, to be sent once and again when the peer goes on talking.
  const Buffer& close_packet() const { return close_packet_; }
  // A packet came after the end: whether to say goodbye again. Rarer each time (RFC 9000 §10.2.1): what came may be the
  // peer's own goodbye, and two ends that answer each other's would go on for as long as both remember.
  bool repeats_goodbye() { return !close_packet_.empty() && std::has_single_bit(++heard_after_end_); }
  bool ended() const { return ended_; }

  // Marks of the endpoint's queues.
  bool queued_for_write = false;
  Instant queued_deadline = kNever;
  std::optional<std::array<std::uint8_t, 16>> half_open;  // the address that it counts against
  bool announced = false;                                 // its confirmation was dealt with
  bool retired = false;                                   // its end was told
  bool asked = false;                                     // a join: the request was handed out

 private:
  struct Callbacks;  // the bridge from ngtcp2's C callbacks (connection.cc)

  Connection(Shared& shared, std::uint64_t number, Admission admission, Instant now);
  Status check_peer(const PeerProof& proof) override;

  ngtcp2_settings settings(Instant now) const;
  ngtcp2_transport_params parameters() const;
  bool new_cid(ngtcp2_cid& cid, std::uint8_t* token);
  void forget_cid(Bytes cid);
  void on_confirmed();
  Status on_stream_data(std::int64_t stream, Bytes data);
  Status start(const ngtcp2_cid& dcid, const ngtcp2_cid& scid, const ngtcp2_transport_params& parameters,
               const ngtcp2_settings& settings);
  void after_read(Instant now);
  void give_credit_back();
  void fail_with(int code, Instant now);
  void peer_closed();
  void end(const ngtcp2_ccerr* to_peer, Instant now);
  std::optional<std::size_t> next_stream() const;
  bool enough_under_way() const;
  bool wants_datagram(std::optional<std::size_t> stream) const;
  ngtcp2_ssize fill_packet(MutableBytes out, ngtcp2_path_storage& path, ngtcp2_pkt_info& info, Instant now);
  ngtcp2_ssize add_stream(std::size_t stream, MutableBytes out, ngtcp2_path_storage& path, ngtcp2_pkt_info& info,
                          Instant now);
  ngtcp2_ssize add_datagram(MutableBytes out, ngtcp2_path_storage& path, ngtcp2_pkt_info& info, Instant now);

  Shared& shared_;
  const std::uint64_t number_;
  Admission admission_;
  std::optional<DialOptions> dial_;
  env::Endpoint remote_;
  env::Endpoint local_;
  Instant created_;
  Instant end_deadline_ = kNever;         // ended: until then late packets of the peer are still known
  std::optional<Instant> life_deadline_;  // asked for a sign of life: gone if none by then
  std::unique_ptr<TlsSession> tls_;
  ngtcp2_conn* conn_ = nullptr;
  std::vector<Cid> cids_;

  std::optional<PeerProof> proof_;
  NodeId peer_;
  bool confirmed_ = false;
  bool failed_ = false;
  bool ended_ = false;
  env::LinkDown down_reason_ = env::LinkDown::kClosed;
  std::string failure_;
  std::string refusal_;  // what we held against the peer

  std::array<SendQueue, env::kPriorities> out_;
  bool streams_open_ = false;
  std::array<bool, env::kPriorities> blocked_{};  // by flow control, for the rest of this turn of writing
  bool urgent_pushed_ = false;                    // since the last turn of writing
  Instant hurry_until_{};                         // urgent frames may follow: bulk leaves the path free
  bool hurry_ = false;                            // in this turn
  std::array<FrameReader, env::kPriorities> in_;
  std::array<std::size_t, env::kPriorities> taken_{};  // by the frame that is still growing
  std::array<std::uint64_t, env::kPriorities> credit_{};
  bool credit_waits_ = false;
  std::size_t queued_bytes_ = 0;
  std::deque<Buffer> datagrams_;
  std::size_t datagram_bytes_ = 0;
  bool life_wanted_ = false;
  bool life_shown_ = false;  // by the packet that is being read
  Instant life_told_{};      // to the node
  bool reset_ = false;       // the peer's process does not know this connection any more
  std::vector<Arrival> arrivals_;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_acked_ = 0;
  Instant heard_{};
  std::uint64_t bytes_received_ = 0;
  Buffer close_packet_;
  std::uint64_t heard_after_end_ = 0;
};

}  // namespace sedge::quic
