// Others' audit chains: the heads that this node remembers of them, the chains that it was asked to fetch, and the
// proofs that came out of both.
//
// Heads are remembered on disk (a few a node, spread over its history), because a chain that is rewritten contradicts
// only who remembers what it was. They come with the replicated entry sys/node/<id>/audit and with fetched chains.
// A chain is fetched from its own node, in bounded chunks, each asked for; with the first comes what that node
// remembers of all others, so that a node that shows one chain here and another there is found by whoever asks both.
// Nobody is believed: every entry and head is checked against its node's own key.
// Bounded: kSeenNodesMax nodes with kSeenHeadsMax heads; kEntriesHeldMax entries of all chains together (the chain
// fetched longest ago goes first); kProofsMax proofs; at_once chains fetched at a time, the others wait their turn.
// Threads: none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "env/outbox.h"
#include "trust/audit_view.h"
#include "trust/directory.h"
#include "wire/audit_messages.h"

namespace sedge::node {

class AuditCollector {
 public:
  struct Options {
    std::uint64_t kept = trust::kAuditKept;
    Duration answer_wait = 3s;   // a dial included; then it is asked again, and in the end counts as out of reach
    std::uint32_t attempts = 3;  // a link may be a dead one's, until it times out
    std::size_t at_once = 4;
  };
  static constexpr const char* kSeenBucket = "audit.seen";    // node -> its remembered heads
  static constexpr const char* kProofBucket = "audit.proof";  // hash of the proof -> proof
  static constexpr std::size_t kSeenNodesMax = 4096;
  static constexpr std::size_t kSeenHeadsMax = 4;
  static constexpr std::size_t kEntriesHeldMax = 65536;
  static constexpr std::size_t kProofsMax = 256;

  // `directory` outlives this.
  AuditCollector(Options options, const trust::Directory& directory) : options_(options), directory_(directory) {}
  std::function<void(const std::string&)> report;  // a new proof, in words; may be empty

  Status load(std::string_view bucket, Bytes key, Bytes value);  // before the first message

  // A record of AuditLog's that a former id of this node left: its chain is shown like those that were fetched.
  Status load_former(Bytes key, Bytes value);

  // A head that came from anywhere. Errors: DataLoss, Unauthenticated, NotFound (no certificate yet): not remembered.
  Status see(const trust::AuditHead& head);
  Status see(Bytes encoded);
  // What we remember of all nodes, as much as fits; where it begins changes with every call.
  std::vector<Buffer> seen(std::size_t bytes_max);

  // Fetches the subject's chain from it. `done` runs once. Errors: Unavailable: out of reach. Unauthenticated,
  // DataLoss: it showed what it did not sign, or no chain at all. Aborted: the node is leaving.
  using Done = std::function<void(const Status&)>;
  void pull(NodeId subject, Done done, Instant now);
  // Errors: FailedPrecondition: nobody asked.
  Status on_chunk(NodeId from, const wire::AuditChunk& chunk, Instant now);
  void abandon();

  const std::map<NodeId, trust::AuditView>& views() const { return views_; }
  const std::map<trust::Digest, trust::AuditProof>& proofs() const { return proofs_; }
  // Keeps the proofs among these, and says so when they are new.
  void keep(const std::vector<trust::AuditFinding>& findings);

  void on_timer(Instant now);
  Instant next_deadline() const;
  // Requests, as task messages are sent: to nodes that may have to be dialled first.
  std::vector<env::Send> take_sends() { return std::exchange(sends_, {}); }
  void drain(env::Outbox& out);

 private:
  using Heads = std::vector<trust::AuditHead>;  // of one node, ascending
  struct Pull {
    std::vector<Done> waiting;
    std::uint64_t after = 0;
    Instant until = kNever;
    std::uint32_t attempts = 0;  // for this part; 0: not asked yet
    Heads seen;                  // as it was asked: what its node signed since may be newer than its answer
  };

  void next_pulls(Instant now);
  void ask(NodeId subject, Pull& pull, bool heads, Instant now);
  void finish(NodeId subject, const Status& status, Instant now);
  Status take_entries(NodeId subject, const wire::AuditChunk& chunk, Pull& pull);
  void make_room(NodeId except);
  void keep(trust::AuditProof proof);

  Options options_;
  const trust::Directory& directory_;
  std::map<NodeId, Heads> seen_;
  NodeId seen_cursor_;
  std::map<NodeId, trust::AuditView> views_;
  std::deque<NodeId> fetched_order_;
  std::map<NodeId, Pull> pulls_;
  std::deque<NodeId> queue_;  // of pulls_: not asked yet
  std::map<trust::Digest, trust::AuditProof> proofs_;
  std::vector<env::Send> sends_;
  std::vector<env::Record> records_;
};

}  // namespace sedge::node
