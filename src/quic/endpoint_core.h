// The inside of quic/endpoint.h: the table of connections, which of them is the link to a node, and the queues of
// events, deadlines and packets. Split by thought: endpoint.cc routes, admits and keeps time; links.cc decides which
// connection is the link; joins.cc runs the join exchange.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "quic/connection.h"
#include "quic/endpoint.h"
#include "quic/tls.h"

namespace sedge::quic {

class Endpoint::Core {
 public:
  explicit Core(Options options);
  Status open();

  Status dial(Connection::DialOptions options, Instant now);
  void on_datagram(const env::IncomingDatagram& datagram, Instant now);
  void on_unreachable(const env::Endpoint& remote, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;
  bool next_datagrams(env::OutgoingDatagrams& out, Instant now);
  Status send(NodeId to, env::Priority priority, Buffer frame, Instant now);
  Status send_datagram(NodeId to, Buffer payload, Instant now);
  void hangup(NodeId peer, env::LinkDown reason, Instant now);
  void close_all(Instant now);
  bool closed() const;
  std::optional<Event> poll();
  Status answer_join(JoinHandle handle, const std::variant<trust::JoinGrant, trust::JoinRefusal>& answer, Instant now);

  Options options;
  NodeId self;
  Counters counters;

  Connection* link(NodeId peer) const;
  std::size_t connections() const { return connections_.size(); }
  const std::map<NodeId, Connection*>& links() const { return links_; }
  std::size_t half_open() const { return half_open_; }

 private:
  struct Queued {
    Event event;
    std::uint64_t connection = 0;  // of a frame: where its credit goes
    env::Priority priority{};
    std::size_t credit = 0;
  };
  struct RawPacket {  // a packet without a connection: Retry, reset, goodbye
    env::Endpoint remote;
    env::Endpoint local;
    Buffer bytes;
  };
  enum class Verdict { kKeepOld, kTakeNew, kSpare, kClone };

  // endpoint.cc
  Status admit(Connection& c, const PeerProof& proof);
  void accept(const env::IncomingDatagram& datagram, Instant now);
  bool validate_address(const env::IncomingDatagram& datagram, Connection::AcceptOptions& accept, Instant now);
  void send_retry(const env::IncomingDatagram& datagram, const ngtcp2_pkt_hd& header, Instant now);
  void on_stray(const env::IncomingDatagram& datagram, Bytes dcid, Instant now);
  void send_reset(const env::IncomingDatagram& datagram, Bytes dcid);
  void raw(const env::Endpoint& remote, const env::Endpoint& local, Buffer bytes);
  void settle(Connection& c, Instant now);  // after anything happened to it
  void reschedule(Connection& c);
  void want_write(Connection& c);
  void open_half(Connection& c);
  void close_half(Connection& c);
  void check_revocations(Instant now);
  void drain(Instant now);
  void emit(Event event) { events_.push_back({std::move(event), 0, {}, 0}); }
  template <class Function>
  void for_each(Function function);

  // links.cc
  void confirm(Connection& c, Instant now);
  Verdict judge(const Connection& old, const Connection& c) const;
  void establish(Connection& c);
  void take_over(Connection& c, Instant now);
  void hold_spare(Connection& c, Instant now);
  void retire(Connection& c, Instant now);
  void deliver(Connection& c, Instant now);

  // joins.cc
  void start_join(Connection& c, Instant now);
  void on_join_frames(Connection& c, Instant now);
  bool on_join_frame(Connection& c, Bytes frame, Instant now);

  Shared shared_;
  std::unique_ptr<TlsCredentials> credentials_;
  std::uint64_t instance_ = 0;
  std::array<std::uint8_t, 32> retry_key_{};
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<NodeId, Connection*> links_;
  std::map<NodeId, Connection*> spares_;  // a second dial of the same peer, waiting for its dialler to choose
  std::set<std::pair<Instant, std::uint64_t>> deadlines_;
  std::deque<Connection*> writers_;
  std::deque<Queued> events_;
  std::deque<RawPacket> raw_;
  Buffer raw_out_;
  Buffer buffer_;
  Batch spill_;
  std::size_t half_open_ = 0;
  std::map<std::array<std::uint8_t, 16>, std::size_t> half_open_by_address_;
  std::uint64_t generation_ = 0;
  bool draining_ = false;
  Instant drain_deadline_ = kNever;
};

}  // namespace sedge::quic
