// Replicated state: one node's writes become everyone's, and everyone's survive everything but the loss of all disks.
//
// A write gets its dot and stamp, is signed, and is handed out as a record. When the disk has it (on_durable) it
// becomes visible to this node too, is acknowledged, and leaves: in a broadcast batch at once, and by anti-entropy to
// whoever that did not reach. Until then nobody, not even a reader here, sees a value that a power cut could take back.
//
// Anti-entropy pulls. A node says its digest ("brief") when a link comes up and about once a second to one random
// neighbour. Who hears another digest than its own asks with its version vector, from one neighbour at a time, and is
// sent what it lacks in bounded chunks, with the ranges that the chunk completes: replaced writes leave holes, and the
// vector must pass them. Vectors are hints; what two nodes' vectors cannot tell apart while their digests differ (a
// withdrawn write, a range covered wrongly) is found by a session (mesh/reconciler.h) that compares what lives, and so
// is, once a minute with one neighbour whatever the digests say, what a forged digest would hide. A session that taught
// nothing (one side refuses what the other holds) is not held again for a while. Pushing on link-up was rejected: a
// returning node would be sent the same writes by all its neighbours.
//
// Tombstones are collected when all members have stated that they dealt with everything up to the tombstone's stamp
// (mesh/state_seen.h), else after a day by those who are in touch with others. The *frontier* is the stamp before which
// this node has collected; it only grows, is durable before it is told, and the digest leaves out tombstones before it.
// Writes from before it are taken only from neighbours whose frontier is no lower: who has not come so far, though it
// is told of it, was away and is reset first (mesh/state_reset.h). Where two sides collected past each other, the write
// that one of them still has lives (adds win), and that is reported. Only tombstones are ever collected, so a lying
// member can bring back what was erased, which is reported as well, but make nobody drop what lives.
//
// Every write is judged on its own: signature, certificate, revocation's cut, grant, owner of a sys/ path, time stamp.
// One stamped over 500 ms ahead of the fleet clock waits in quarantine until the clock gets there. A register that this
// node wrote before it had a clock (mesh/clock_leaps.h) and that an older write ends is written again.
// Paths: "sys/node/<hex id>/..." is written by that node only; "sys/revoked/<hex id>" is a set of signed revocations,
// to which anybody may add; the rest of "sys/" is nobody's.
// Formats: docs/formats/state_sync.md. Threads: none.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "crdt/hlc.h"
#include "crdt/op.h"
#include "crdt/replica.h"
#include "crdt/version_vector.h"
#include "env/outbox.h"
#include "mesh/clock_leaps.h"
#include "mesh/packing.h"
#include "mesh/reconciler.h"
#include "mesh/state_reset.h"
#include "mesh/state_seen.h"
#include "trust/directory.h"
#include "wire/message_type.h"
#include "wire/state_messages.h"

namespace sedge::mesh {

using Ticket = Number<struct TicketTag>;  // one accepted write, within one life of the node

inline constexpr std::string_view kStateOpBucket = "state.op";              // dot -> signed write
inline constexpr std::string_view kStateVectorBucket = "state.vector";      // origin -> its row of the version vector
inline constexpr std::string_view kStateFrontierBucket = "state.frontier";  // one record: what was collected
inline constexpr std::string_view kStateChainBucket = "state.chain";        // origin of living writes -> its chain
inline constexpr std::uint64_t kSpotCheckRounds = 64;                       // about a minute
inline constexpr std::size_t kStateBatchBytesMax = 60u << 10;               // fits a broadcast batch with its header

// What became of a write that came from elsewhere. One counter each in StateStats.
enum class StateVerdict : std::uint8_t {
  kMerged,
  kDuplicate,
  kReplaced,  // newer ones had made it void
  kConflict,  // two writes with one dot: its origin equivocates (reported)
  kMalformed,
  kUnknownOrigin,  // no certificate yet
  kForged,         // the signature is not its origin's
  kPastCut,        // revoked before it was written
  kForbidden,      // no grant, or somebody else's sys/ path
  kEarly,          // stamped ahead of the fleet clock: in quarantine (reported)
  kFull,           // no room, here or in quarantine (reported)
  kOwn,            // signed by our key, but never written here: a cloned home or an old backup (reported)
  kCollected,      // from before the frontier, and not from somebody who has come so far
};
inline constexpr std::size_t kStateVerdicts = 13;
std::string_view verdict_name(StateVerdict verdict);

struct StateStats {
  std::array<std::uint64_t, kStateVerdicts> verdicts{};
  std::uint64_t written = 0;
  std::uint64_t written_again = 0;  // made before this node had a clock, and ended by what was older
  std::uint64_t withdrawn = 0;
  std::uint64_t pulls = 0;
  std::uint64_t sessions = 0;     // opened for what vectors could not settle
  std::uint64_t spot_checks = 0;  // opened to be sure
  std::uint64_t ops_sent = 0;     // by anti-entropy
  std::size_t in_quarantine = 0;
  std::uint64_t collected = 0;  // tombstones
  std::uint64_t reset = 0;      // writes dropped because they were over when this node came back
  std::uint64_t revived = 0;    // writes that this side had collected and another side still had
  std::uint64_t of(StateVerdict verdict) const { return verdicts[static_cast<std::size_t>(verdict)]; }
};

// One neighbour being asked for what we lack.
struct StatePull {
  NodeId peer;
  Instant until;
  bool session = false;        // by a session; else by vector
  std::uint64_t merged = 0;    // StateStats, as it was asked
  int turns = 0;               // messages of the session so far
  bool news = false;           // something was merged
  std::set<crdt::Dot> passed;  // seen in this pull and not merged: not to be sent again in it, nor covered
};

class StateSync {
 public:
  struct Options {
    NodeId self;
    BootEpoch epoch;             // of this life; greater than any before
    std::uint64_t seed = 0;      // for choosing neighbours and jitter
    Duration round = 1s;         // between anti-entropy rounds, +-25 %
    Duration pull_timeout = 2s;  // a neighbour that does not answer loses its turn
    Duration lazy_flush = 50ms;  // others' writes wait this long for company on the way to disk
    Duration ahead_max = 500ms;
    std::size_t chunk_bytes = 192u << 10;  // sent for one question
    Duration collect_every = 10min;        // members state so often what they have seen; frontiers are multiples of it
    Duration collect_after = 24h;          // then without those who state nothing
    std::size_t unacknowledged_max = 4096;
    std::size_t quarantine_max = 1024;  // writes
    std::size_t quarantine_bytes_max = 4u << 20;
    crdt::Replica::Limits limits;
  };
  // Set before start(); each may be empty. They may call back into this object.
  struct Hooks {
    std::function<void(Ticket, Status)> done;                             // exactly once for each ticket
    std::function<void(const std::string& path, NodeId writer)> changed;  // read it from replica()
    std::function<Status(Bytes chain)> learn_chain;  // a certificate chain that came along: for the directory
    std::function<void(const std::string&)> report;  // what a person should know, once an origin and kind
    // Whether bytes to it are dearer than the time to pack them. Not set: never.
    std::function<bool(NodeId peer)> packs;
    std::function<std::size_t()> enrolled;  // members that are known and not revoked, beside this node
    std::function<void(NodeId origin, const std::string& path)> forbidden;  // a signed write that it has no grant for
  };

  // `key` and `directory` must outlive this; the directory has our own chain.
  StateSync(Options options, const trust::SecretKey& key, const trust::Directory& directory);
  Hooks hooks;

  // Before start(): all records of the three buckets. Errors: DataLoss: names the record. FailedPrecondition: the boot
  // epoch was used before.
  Status load(std::string_view bucket, Bytes key, Bytes value);
  void start(Instant now);

  // Errors: InvalidArgument (path, size), PermissionDenied (grant, sys/), FailedPrecondition (something of another
  // family lives there), OutOfRange (a counter's end), ResourceExhausted (too many unacknowledged: retry when some
  // are done; or the store is full).
  Result<Ticket> set(std::string_view path, std::optional<Buffer> value, Instant now);        // LWW; none erases
  Result<Ticket> set_multi(std::string_view path, std::optional<Buffer> value, Instant now);  // MV; replaces all seen
  Result<Ticket> add(std::string_view path, std::int64_t change, Instant now);
  Result<Ticket> insert(std::string_view path, Buffer element, Instant now);
  Result<Ticket> remove(std::string_view path, Buffer element, Instant now);
  // A 2P-set: who is removed can never be inserted again, by anybody. FailedPrecondition: it was removed.
  Result<Ticket> insert_2p(std::string_view path, Buffer element, Instant now);
  Result<Ticket> remove_2p(std::string_view path, Buffer element, Instant now);
  // To a log of the newest `keep` entries. FailedPrecondition: the log there keeps another number.
  Result<Ticket> append(std::string_view path, Buffer entry, std::uint64_t keep, Instant now);
  // Everything at a path, or at all that a filter chooses outside "sys/" (mesh/topic.h): all that is seen here, so what
  // another node adds meanwhile lives. Counters stay. The ticket is of the last write.
  // NotFound: the filter chooses nothing. FailedPrecondition: counters only. ResourceExhausted: more writes than may
  // wait for the disk at once.
  Result<Ticket> erase(std::string_view where, Instant now);

  // The node numbers what drain() gave: records drained so far are durable with `lsn`.
  void on_persisting(env::Lsn lsn);
  void on_durable(env::Lsn upto, Instant now);
  // The disk failed or the node stops: every write not yet acknowledged is answered with `why`.
  void abandon(const Error& why);

  // StateOps payloads for the broadcast tree, each at most kStateBatchBytesMax. Call it before drain(): for a write too
  // large for a batch it tells the neighbours to pull.
  std::vector<Buffer> take_outgoing();
  // Errors: DataLoss, Unauthenticated: the sender is broken or lies; count it.
  Status on_broadcast(NodeId origin, Bytes payload, Instant now);
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_link_up(NodeId peer, Instant now);
  void on_link_down(NodeId peer, Instant now);
  // A settled neighbour's clocks, measured by a round trip (membership probes).
  void on_clock_sample(NodeId peer, const crdt::FleetClock::Exact& reading, Instant now);
  // Certificates or revocations came: takes back what is past a cut.
  void on_directory_changed(Instant now);

  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);

  bool writes_live_of(NodeId origin) const;  // then others may ask us for its certificate
  const crdt::Replica& replica() const { return replica_; }
  const crdt::VersionVector& vector() const { return known_; }
  // What is equal where two nodes hold the same, though one has collected what the other is about to.
  crdt::Digest digest() const { return digest_at(frontier_ms_); }
  crdt::Digest digest_at(std::uint64_t frontier_ms) const {
    return replica_.digest_without(crdt::Hlc::at_ms(std::max(frontier_ms, frontier_ms_)));
  }
  std::uint64_t frontier_ms() const { return frontier_ms_; }
  std::uint64_t fleet_ms(Instant now) const { return clock_.ms(now); }
  std::uint64_t fleet_us(Instant now) const { return clock_.us(now); }
  bool clock_settled(Instant now) const { return clock_.settled(now); }
  // How far a neighbour's fleet clock is ahead of ours.
  std::optional<Duration> clock_offset(NodeId peer) const { return clock_.offset(peer); }
  const StateStats& stats() const { return stats_; }
  const PackStats& pack_stats() const { return packer_.stats(); }
  std::size_t unacknowledged() const { return staged_.size(); }

 private:
  using Verdict = StateVerdict;
  using Pull = StatePull;

  struct Staged {
    Ticket ticket;
    crdt::Op op;
    Buffer encoded;
  };
  // A neighbour whose answers taught nothing while digests differed.
  struct Dry {
    int pulls = 0;  // in a row
    Duration pause{};
    Instant session_from{};  // no session before
  };
  struct Flight {
    env::Lsn lsn;
    std::size_t count;  // of staged writes, from the front
  };

  // Local writes.
  Result<Ticket> write(crdt::OpKind kind, std::string_view path, std::optional<Buffer> value, std::int64_t change,
                       Instant now);
  Status check_write(const crdt::Op& op) const;
  struct Erasing;  // state_erase.cc
  static Erasing erasing(const std::string& path, crdt::Family family, const crdt::Value* value, std::uint64_t keep);
  Erasing erasing_one(const std::string& path) const;
  std::vector<Erasing> erasing_all(std::string_view filter) const;
  Status check_erasing(std::string_view where, const std::vector<Erasing>& all) const;
  Status complete(crdt::Op& op, std::int64_t change) const;
  Status may_write(NodeId origin, const crdt::Op& op) const;
  const crdt::Op* last_staged(const crdt::Op& like) const;
  void commit(Staged staged);
  std::optional<crdt::Op> ours_ended_by(const crdt::Op& older) const;
  bool is_older(const crdt::OpView& theirs, const crdt::OpView& ours) const;
  void write_again(crdt::Op ours);

  // Others' writes.
  Verdict judge(Bytes encoded, crdt::Dot& dot, std::uint64_t their_frontier_ms);
  Verdict check_origin(const crdt::Op& op, Bytes encoded) const;
  Verdict merge(const crdt::Op& op, Bytes encoded);
  Verdict hold(const crdt::Op& op, Bytes encoded);
  void release_quarantine();
  Status take_ops(const wire::StateOps& message, Pull* pull, std::uint64_t their_frontier_ms);
  void learn_chains(const wire::StateOps& message);
  void report(Verdict verdict, NodeId origin);
  void on_changed(const std::string& path, NodeId writer);

  // Anti-entropy (state_exchange.cc).
  Status on_vector(NodeId from, const wire::StateVector& message);
  Status on_ops(NodeId from, const wire::StateOps& message);
  Status on_session(NodeId from, wire::MessageType type, Bytes body);
  void finish_pull(const std::optional<wire::StateDigest>& theirs);  // none: we cannot know it
  bool linked(NodeId peer) const;
  void want(NodeId peer);
  void next_pull();
  void ask();
  void ask_with_vector();
  void open_session(NodeId peer, std::size_t symbols);
  void note_dry(NodeId peer, bool session);
  bool brief_is_due();
  void send_brief(NodeId peer);
  void answer_pull(NodeId peer, const crdt::VersionVector& theirs);
  void answer(NodeId peer, wire::StateOps message, const std::set<NodeId>& new_origins);
  void answer_session(NodeId peer, const crdt::SessionAnswer& found);
  bool cover(const wire::StateCover& range, const std::set<crdt::Dot>& except);
  wire::StateDigest wire_digest(NodeId to) const;
  bool same(const wire::StateDigest& theirs) const;
  void on_round();
  void on_clock(std::uint64_t before_ms);

  // Collection (state_collect.cc).
  void plan_statement(Duration least, Duration most);
  void on_statement_due();
  void fill_holes();
  bool somebody_is_ahead();
  bool must_state() const;
  void state_seen();
  void keep_frontier(std::uint64_t frontier_ms);
  void advance();
  void adopt(std::uint64_t frontier_ms);
  void on_adopted();
  void sweep();
  std::size_t enrolled() const { return hooks.enrolled ? hooks.enrolled() : 0; }
  std::size_t witnesses_needed() const;
  std::uint64_t frontier_that_can_be() const;
  bool behind(NodeId peer) const;
  bool was_away() const;
  void reset_step();
  bool ask_what_is_over();
  void finish_reset(std::size_t witnesses);
  std::uint64_t late_ms() const;
  void hold_tombstones();
  Status on_stale(NodeId from, const wire::StateStale& message);
  Status on_gone(NodeId from, const wire::StateGone& message);
  bool before_frontier(const crdt::OpView& op) const { return op.stamp < crdt::Hlc::at_ms(frontier_ms_); }

  // Disk.
  void keep(const crdt::Dot& dot, Bytes encoded);
  void erase(const crdt::Dot& dot);
  void lazy(env::Record record);
  Status load_op(Bytes key, Bytes value);
  Status load_row(Bytes key, Bytes value);
  Status load_chain(Bytes key, Bytes value);
  void keep_chains();
  void keep_chain(NodeId origin);
  void drop_chain(NodeId origin);
  Status load_frontier(Bytes value);

  Options options_;
  const trust::SecretKey& key_;
  const trust::Directory& directory_;
  Prng prng_;
  crdt::Replica replica_;
  crdt::VersionVector known_;
  crdt::HybridClock hybrid_;
  crdt::FleetClock clock_;
  ClockLeaps leaps_;
  StateStats stats_;
  Packer packer_;
  std::set<std::pair<Verdict, NodeId>> reported_;

  Sequence sequence_;
  Ticket ticket_;
  std::deque<Staged> staged_;
  std::size_t drained_ = 0;   // of staged_: handed out as records
  std::size_t numbered_ = 0;  // of staged_: in flights_
  std::deque<Flight> flights_;
  std::vector<Buffer> outgoing_;

  std::map<std::pair<crdt::Hlc, crdt::Dot>, Buffer> quarantine_;
  std::size_t quarantine_bytes_ = 0;

  std::vector<NodeId> peers_;   // linked, ascending
  std::vector<NodeId> wanted_;  // said another digest than ours, in that order
  std::map<NodeId, Dry> dry_;
  std::optional<Pull> pull_;
  Reconciler reconciler_;
  std::uint64_t rounds_;
  crdt::Digest told_digest_{};      // in the last round,
  std::uint64_t rounds_alike_ = 0;  // and how many in a row it has been ours
  Instant round_due_ = kNever;
  std::vector<env::Send> sends_;

  std::uint64_t frontier_ms_ = 0;       // what was collected: durable
  std::uint64_t pace_ms_ = 0;           // up to here this node has kept pace: who collects further leaves it behind
  std::optional<Instant> ahead_since_;  // somebody has collected further
  struct Adopting {                     // a frontier on its way to the disk
    std::uint64_t frontier_ms = 0;
    bool drained = false;
    std::optional<env::Lsn> lsn;
  };
  std::optional<Adopting> adopting_;
  SeenTable seen_;
  std::map<NodeId, std::uint64_t> frontiers_;  // as neighbours told theirs
  std::map<crdt::Dot, std::uint64_t> held_;    // tombstones that came late: to be passed on until the frontier is there
  std::optional<StateReset> reset_;
  std::optional<NodeId> reset_asks_;  // until its answer or reset_until_
  NodeId reset_asked_;                // last: then the next one
  Instant reset_until_{};
  bool exchanged_ = false;  // in this life, to the end of a pull
  int holed_ = 0;           // statements in a row put off because of holes
  Instant statement_due_ = kNever;
  Instant sweep_due_ = kNever;

  struct KeptChain {
    std::size_t hash = 0;
    std::uint64_t generation = 0;  // of the directory when it was compared
  };
  std::unordered_map<NodeId, KeptChain> chains_;  // on disk
  std::vector<env::Record> lazy_;
  std::set<NodeId> dirty_rows_;
  Instant now_{};  // of the call in progress
  Instant lazy_due_ = kNever;
  bool flush_ = false;
};

}  // namespace sedge::mesh
