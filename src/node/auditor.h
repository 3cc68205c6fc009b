// The audit of a node: what is written down and when (AuditLog keeps it), who may read it, and what is known of others
// (AuditCollector). The node tells it what happened; it never asks the node anything.
//
// Any member may read any chain: an audit that only some may read protects those some. Prompts are in it as hashes
// alone; who can guess a prompt can test the guess (docs/adr/0016).
// What members ask for in vain is written down once a minute a member, with a count: a peer must not fill our disk by
// asking. Our newest head is told to the fleet when it has changed, once in head_interval, and in a large fleet rarer,
// so that all members together tell about one in two seconds.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "node/audit_collector.h"
#include "node/audit_log.h"
#include "wire/message_type.h"
#include "wire/task_messages.h"

namespace sedge::node {

class Auditor {
 public:
  struct Options {
    NodeId self;
    BootEpoch epoch;
    std::string name;
    std::uint64_t seed = 0;
    std::uint64_t kept = trust::kAuditKept;
    Duration head_interval = 60s;
    Duration head_interval_member = 2s;  // a living member; the longer of both counts, +-50 %
    Duration refusals_interval = 60s;
    std::function<std::uint64_t(Instant)> fleet_ms;
    std::function<std::size_t()> members;
  };
  static constexpr std::size_t kRefusedPeersMax = 64;   // counted at a time; more are counted together, under no name
  static constexpr const char* kHeadSuffix = "/audit";  // of the entry sys/node/<id>/audit

  // `key` and `directory` outlive this.
  Auditor(Options options, const trust::SecretKey& key, const trust::Directory& directory);

  static std::vector<std::string> buckets();
  Status load(std::string_view bucket, Bytes key, Bytes value);
  void start(Instant now);
  void on_report(std::function<void(const std::string&)> report) { others_.report = std::move(report); }

  // What happened.
  void enrolled(const trust::AuditEnrolled& what, Instant now) { append(trust::AuditKind::kEnrolled, what, now); }
  void revoked(const trust::AuditRevoked& what, Instant now) { append(trust::AuditKind::kRevoked, what, now); }
  void inference(trust::AuditInference what, Instant now);
  void refused(NodeId peer, std::string_view what, Instant now);

  // Errors: as AuditCollector::on_chunk; DataLoss.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  // The entry of another node at kHeadSuffix changed. Errors: DataLoss, Unauthenticated: it is not that node's head.
  Status on_head(NodeId writer, Bytes head);

  void on_timer(Instant now);
  Instant next_deadline() const;
  std::vector<env::Send> take_sends();
  // Our newest head, when the fleet is to be told it.
  std::optional<Buffer> take_head(Instant now);
  void drain(env::Outbox& out, Instant now);
  void on_persisting(env::Lsn lsn) { log_.on_persisting(lsn); }
  void on_durable(env::Lsn upto, Instant now);

  // For people.
  using Done = AuditCollector::Done;
  void pull(NodeId subject, Done done, Instant now) { others_.pull(subject, std::move(done), now); }
  void abandon() { others_.abandon(); }
  struct Row {
    NodeId node;
    std::uint64_t entries = 0;
    std::uint64_t last = 0;
    std::uint64_t checkpoint = 0;  // entries up to this one were given up
    std::vector<trust::AuditFinding> findings;
  };
  // Our own chain first, then those that were fetched.
  std::vector<Row> rows();
  std::vector<trust::AuditEntry> entries_of(NodeId node) const;
  const std::map<trust::Digest, trust::AuditProof>& proofs() const { return others_.proofs(); }
  const AuditLog& log() const { return log_; }

 private:
  struct Refused {
    std::uint64_t count = 0;
    std::string what;
    Instant tell_at{};
  };
  template <class Body>
  void append(trust::AuditKind kind, const Body& body, Instant now) {
    log_.append(kind, body, options_.fleet_ms ? options_.fleet_ms(now) : 0, now);
  }
  wire::AuditChunk answer(const wire::AuditRequest& request);
  Duration head_wait() const;

  Options options_;
  AuditLog log_;
  AuditCollector others_;
  Prng prng_;
  std::map<NodeId, Refused> refused_;
  std::vector<env::Send> sends_;
  std::uint64_t told_ = 0;  // number of the head that the fleet was told
  Instant untold_since_{};
  std::int64_t wait_permille_ = 0;  // of the interval, drawn for each head
  Instant tell_at_ = kNever;
};

// Whose prompt it was is not in it; equal prompts have equal digests.
trust::Digest prompt_digest(const wire::TaskSpec& spec);

}  // namespace sedge::node
