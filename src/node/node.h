// One node: the sans-IO cores composed. The same object runs on a robot (platform/) and in the simulator (sim/).
// It is told of links, messages, durable writes, compute reports and time; it says through drain() what to send, dial,
// persist and announce, and through next_deadline() when to be called again. Nothing in here blocks or locks; one
// thread owns it.
//
//   frames, links ──> Membership ── events ──> TaskOwner (a lost node's tasks move), StateSync, Broadcast
//                     Broadcast  ── batches ─> PubSub, StateSync, load reports
//                     StateSync  ── entries ─> offers of other nodes (placement), revocations, retained values
//                     Tensors    <── chunks ──  and manifests, which are entries
//                     TaskOwner <── tasks ───> TaskWorker ──> env::Compute
//                     Averager  <── shares of what is averaged by gossip
//                     Group     <── votes, log, requests of others ── and hints in the replicated state: who leads
//
// A message to ourselves (the owner serves its own task) takes the same road as one to a peer, encoded and decoded:
// one path to test.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "consensus/averager.h"
#include "consensus/group.h"
#include "env/compute.h"
#include "env/entropy.h"
#include "env/link.h"
#include "env/outbox.h"
#include "mesh/broadcast.h"
#include "mesh/membership.h"
#include "mesh/pubsub.h"
#include "mesh/state_sync.h"
#include "mesh/tensors.h"
#include "node/auditor.h"
#include "node/enroller.h"
#include "node/peer_meter.h"
#include "node/privacy.h"
#include "node/task_owner.h"
#include "node/task_worker.h"
#include "trust/directory.h"
#include "trust/keys.h"

namespace sedge::node {

struct NodeOptions {
  std::string name;
  BootEpoch epoch;                              // begin_epoch() of node/boot.h: persisted before first use
  std::vector<env::Endpoint> endpoints;         // where others can dial us
  std::vector<env::Endpoint> seeds;             // whom to dial when nobody is known
  std::array<std::uint8_t, 32> fleet_secret{};  // keys the beacons
  bool beacons = true;
  Duration collect_every = 10min;  // erased entries: how often members say what they have seen, while there are any,
  Duration collect_after = 24h;    // and for how long one that says nothing is waited for
  Duration load_interval = 200ms;  // how often a changed queue is told; unchanged ones every 2 s
  TaskWorkerOptions worker;
  TaskOwnerOptions owner;
  std::optional<IssuerOptions> issuer;  // this node may invite others
  bool may_found = false;               // the fleet's consensus group, where none is known (consensus/group.h)
  NodeId former;                        // whose state this is, before a rotation; zero: nobody's
  PeerMeter::Options meter;
  std::uint64_t audit_kept = trust::kAuditKept;
  bool pack = true;  // large payloads on links that are no cable
  PrivacyLedger::Options privacy;
  std::size_t tensor_bytes_max = mesh::Tensors::Options().bytes_max;
  mesh::OverlayPolicy overlay;
  std::string zone;                // of a hierarchy; empty: where the coordinates place it
  std::uint16_t gateway_rank = 0;  // what this machine can carry as a gateway, 0 to 15 (mesh/overlay.h)
};

// What the running node counts, for status and metrics.
struct NodeStats {
  std::uint64_t frames_refused = 0;  // malformed or forbidden, dropped and counted
  std::uint64_t peers_shunned = 0;   // hung up on, because they sent what no honest peer sends
  std::uint64_t tasks_answered = 0;
  std::uint64_t tasks_refused = 0;
  std::uint64_t tasks_fallback = 0;
  std::uint64_t tasks_failed = 0;
  std::uint64_t tasks_resumed = 0;  // moved to another node after a loss
  std::uint64_t tokens_streamed = 0;
};

struct RunOptions {
  OnTokens on_tokens;
  OnResult on_result;
  bool manual_credit = false;
};

class Node {
 public:
  // `directory`, `entropy` and `compute` outlive the node.
  Node(NodeOptions options, trust::SecretKey key, trust::Directory& directory, env::Entropy& entropy,
       env::Compute& compute);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // What an earlier life persisted, bucket by bucket, before start().
  static const std::vector<std::string>& buckets();
  Status load(std::string_view bucket, Bytes key, Bytes value);
  void start(Instant now);

  // From the world.
  void on_link_up(const env::PeerInfo& peer, Instant now);
  void on_link_down(NodeId peer, env::LinkDown reason, Instant now);
  void on_dial_failed(const env::DialFailure& failure, Instant now);
  void on_frame(NodeId from, Bytes frame, const env::AnswersWaiting& waiting, Instant now);  // a datagram is the same
  void on_beacon(const env::Endpoint& from, Bytes beacon, Instant now);
  void on_durable(env::Lsn lsn, Instant now);
  void on_slice(const env::SliceReport& report, Instant now);
  void set_endpoints(std::vector<env::Endpoint> endpoints, Instant now);  // interfaces came or went
  void on_timer(Instant now);
  // All links on which anything waits, said after every drain and whenever some has left.
  void on_backlog(std::span<const env::LinkBacklog> waiting) { broadcast_->on_backlog(waiting); }
  void on_link_bytes(std::span<const env::LinkBytes> bytes, Instant now);  // of all links, every 100 ms or so
  Instant next_deadline() const;
  void drain(env::Outbox& out, Instant now);

  // For clients, on the node's own thread.
  mesh::StateSync& state() { return *state_; }
  const mesh::StateSync& state() const { return *state_; }
  const mesh::Membership& membership() const { return *membership_; }
  const mesh::Broadcast& broadcast() const { return *broadcast_; }
  const mesh::PubSub& pubsub() const { return *pubsub_; }
  const TaskOwner& owner() const { return owner_; }
  const TaskWorker& worker() const { return worker_; }
  const NodeStats& stats() const { return stats_; }
  const PeerMeter& meter() const { return meter_; }
  Auditor& auditor() { return *auditor_; }
  const Auditor& auditor() const { return *auditor_; }
  const NodeOptions& options() const { return options_; }
  NodeId id() const { return id_; }
  Enroller* enroller() { return enroller_.get(); }

  // when_durable(node.state().set(...), done): `done` runs once, when the write is durable or refused.
  using Done = std::function<void(const Status&)>;
  void when_durable(Result<mesh::Ticket> ticket, Done done);

  // Calls back for every change of an entry whose path the filter chooses (as topics: + and #); with `initial` also
  // for what is there already, before it returns; for a tensor once more when its chunks have come.
  using OnChange = std::function<void(const std::string& path, const std::optional<crdt::Value>& value, NodeId writer)>;
  using WatchId = Number<struct WatchTag>;
  Result<WatchId> watch(std::string_view filter, bool initial, OnChange callback);
  void unwatch(WatchId id);

  // Reads or writes an agreed value (consensus/group.h): one answer in the whole fleet, by a majority of the voters.
  // Draws an id when the request has none. `done` is called once, within `patience`.
  TaskId agree(wire::AgreedRequest request, Duration patience, consensus::Group::Done done, Instant now);
  const consensus::Group& group() const { return *group_; }

  // The mean of one value from each node that takes part now, by gossip (consensus/averager.h). `name` is as a topic.
  // `done` is called once, when it is over. Errors: PermissionDenied: no grant pub:NAME; those of Averager::average.
  void average(std::string_view name, double value, Duration window, consensus::Averager::Done done, Instant now);
  const consensus::Averager& averager() const { return *averager_; }
  // Model parameters (mesh/tensors.h). A new version: tensors().begin() and give(), then this, which writes the
  // manifest at the path as when_durable(state().set()) does, and ends the upload. Errors, at once: those of
  // value_of().
  mesh::Tensors& tensors() { return *tensors_; }
  const mesh::Tensors& tensors() const { return *tensors_; }
  Status put_tensor(std::string_view path, mesh::UploadId upload, Done done, Instant now);

  // By name, or the beginning of an id. Errors: NotFound; InvalidArgument: several match.
  Result<mesh::Member> member_called(std::string_view who) const;

  // Spreads the root's order of a forced quorum. Errors: FailedPrecondition: of another group than this node's, or not
  // of the next number; those of trust::open_quorum and the state.
  Status force_quorum(Bytes order, Done done, Instant now);

  // Fetches a member's audit chain from it; `done` runs once. A node that is not linked is dialled.
  void audit_pull(NodeId subject, Auditor::Done done, Instant now);

  // Makes an invitation for a member's next key (trust/rotation.h), by name or id as above. Errors, some through
  // `shown`: those of revoke(), and of Enroller::invite_successor.
  Status invite_successor(std::string_view who, Enroller::Shown shown);

  // Spreads the root's revocation of an issuer. Errors: InvalidArgument: it is none, or of the issuer in use here;
  // Unauthenticated; FailedPrecondition: members are still below that issuer, whom it would put out (it names them),
  // unless `leave_behind`; those of the state.
  Status retire_issuer(Bytes revocation, bool leave_behind, Done done, Instant now);

  // Withdraws a member's certificate, by name or id (or the beginning of one). What it wrote so far stays.
  // Returns whom. Errors: PermissionDenied: no issuer; NotFound; InvalidArgument: several match.
  Result<std::string> revoke(std::string_view who, Done done, Instant now);

  // `retain`: so many of the topic's last messages are kept, as a replicated entry (a register, or a log), so that who
  // subscribes later gets them at once; durable before it is acknowledged. 0: not kept. Others are acknowledged when
  // they are on their way. ResourceExhausted: a neighbour does not keep up; nothing was sent, and taking it would cost
  // the link. Try again a little later.
  void publish(std::string_view topic, Bytes payload, mesh::PublishOptions options, std::uint32_t retain, Done done,
               Instant now);
  // The same of a number, which is clamped and noised first (node/privacy.h), once it is on disk what that spends.
  // Errors: also InvalidArgument: no number, or no bounds; ResourceExhausted: the topic's privacy budget.
  void publish_private(std::string_view topic, Bytes payload, const PrivateOptions& privacy,
                       mesh::PublishOptions options, std::uint32_t retain, const Done& done, Instant now);
  const PrivacyLedger& privacy() const { return privacy_; }
  // Retained values that match come first, then live messages.
  Result<mesh::SubscriptionId> subscribe(std::string_view filter, mesh::PubSub::Callback callback,
                                         mesh::SubscribeOptions options, Instant now);
  Result<mesh::SubscriptionId> promise(std::string_view topic, Duration deadline,
                                       std::function<void(std::string_view topic)> on_late, Instant now);
  void unsubscribe(mesh::SubscriptionId id);

  // Draws a task id when the request has none. The callbacks run on the node's thread, the result exactly once.
  TaskId run(TaskRequest request, RunOptions options, Instant now);
  void cancel(TaskId task, Instant now);
  void consumed(TaskId task, std::uint32_t tokens);

  // What membership saw: for logs, the demo and `sedge status --watch`.
  void on_member_event(std::function<void(const mesh::MemberEvent&)> callback) { member_event_ = std::move(callback); }

  // What a person should know and nobody asked for: clones, lying clocks, full stores.
  void on_report(std::function<void(const std::string&)> callback) {
    report_ = std::move(callback);
    auditor_->on_report(report_);
  }

  // Graceful end: no new tasks, peers are told. Call drain() until empty, then close the links.
  void leave(Instant now);
  bool leaving() const { return leaving_; }

 private:
  struct Watcher {
    std::string filter;
    std::shared_ptr<const OnChange> callback;  // shared: it may unwatch itself while it runs
  };

  bool may_run(NodeId id, std::string_view model) const;
  Status check_task(const TaskRequest& request) const;
  Status check_publish(std::string_view topic, const mesh::PublishOptions& options, std::uint32_t retain,
                       Instant now) const;
  Status dispatch(NodeId from, wire::MessageType type, Bytes body, Instant now);
  Status take_task_frame(NodeId from, wire::MessageType type, Bytes body, Instant now);
  Status on_consensus_frame(NodeId from, wire::MessageType type, Bytes body, Instant now);
  consensus::AveragerOptions averager_options();
  consensus::GroupOptions group_options();
  std::vector<consensus::Candidate> candidates(Instant now) const;
  void send_consensus(std::vector<env::Send> sends, Instant now);
  void tell_hint(Instant now);
  Status on_task_frame(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_event(const mesh::MemberEvent& event, Instant now);
  void on_batch(mesh::BatchKind kind, NodeId origin, Bytes payload, Instant now);
  void on_entry(const std::string& path, NodeId writer);
  std::vector<WatchId> watchers_of(const std::string& path) const;
  void tell(const std::vector<WatchId>& watching, const std::string& path, const std::optional<crdt::Value>& value,
            NodeId writer);
  void note_tensor(const std::string& path);
  void note_tensors();
  void tell_tensors();
  void on_revocations(Instant now);
  void on_quorum_orders(Instant now);
  void note_hint(const crdt::Value& value);
  void note_hints();
  void finish_rotations(Instant now);
  void report_withdrawn(NodeId former, const std::string& name, const Status& status) const;
  Result<mesh::Ticket> withdraw(const trust::CertificateChain& chain, trust::Cut cut, Instant now);
  void forget_certificate(NodeId id);
  void lose(NodeId peer, Instant now);
  void settle(Instant now);
  void send_task(env::Send send, Instant now);
  void broadcast_gathered(Instant now);
  void refresh_views();
  void advertise(Instant now);
  void report_load(Instant now);
  void send_beacon(Instant now);
  void count(const TaskResult& result);
  mesh::Membership::Options membership_options();
  mesh::Broadcast::Options broadcast_options();
  void make_state();
  void make_auditor();
  Status learn_chain(Bytes chain);
  void refuse(NodeId from, const Error& error, std::size_t bytes, Instant now);
  void audit_own(const TaskResult& result, const wire::TaskSpec& spec);

  NodeOptions options_;
  NodeId id_;
  trust::SecretKey key_;
  trust::Directory& directory_;
  env::Entropy& entropy_;
  env::Compute& compute_;
  std::unique_ptr<mesh::Membership> membership_;
  std::unique_ptr<mesh::Broadcast> broadcast_;
  std::unique_ptr<mesh::PubSub> pubsub_;
  std::unique_ptr<mesh::StateSync> state_;
  std::unique_ptr<mesh::Tensors> tensors_;
  std::unique_ptr<Enroller> enroller_;
  std::unique_ptr<consensus::Group> group_;
  std::unique_ptr<consensus::Averager> averager_;
  std::unique_ptr<Auditor> auditor_;
  PeerMeter meter_;
  PrivacyLedger privacy_;
  TaskOwner owner_;
  TaskWorker worker_;
  NodeStats stats_;
  std::function<void(const mesh::MemberEvent&)> member_event_;
  std::function<void(const std::string&)> report_;

  std::map<mesh::Ticket, Done> durable_callbacks_;
  std::map<WatchId, Watcher> watchers_;
  WatchId last_watch_;
  std::map<mesh::SubscriptionId, WatchId> retained_watches_;

  struct Unlinked {
    std::vector<env::Send> sends;
    Instant until{};
    std::uint32_t dials_left = 4;
  };
  std::vector<env::Send> remote_;        // task messages to other nodes
  std::map<NodeId, Unlinked> unlinked_;  // those that wait for a link, which is being dialled
  std::vector<env::Hangup> hangups_;
  std::vector<Buffer> beacons_;
  std::map<NodeId, wire::Offers> offers_;
  std::map<NodeId, wire::LoadReport> loads_;
  wire::LoadReport told_load_;
  env::Lsn lsn_;
  Instant now_{};  // of the latest call
  Instant load_told_{};
  Instant next_load_ = kNever;
  Instant next_beacon_ = kNever;
  bool views_stale_ = true;
  Instant views_at_{};
  bool revocations_stale_ = false;
  bool quorum_stale_ = false;
  bool rotations_stale_ = true;
  std::set<NodeId> revoking_;  // former ids whose revocation was asked for in this life
  bool leaving_ = false;
};

}  // namespace sedge::node
