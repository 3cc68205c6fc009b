// One log that a majority agrees on, whoever dies.
//
// Problem: most of what a fleet shares merges (crdt/), and needs nobody's consent. A few things do not: who leads, who
// holds the only charger, the one number that may be given once. Two halves of a split fleet must never both say yes.
//
// Idea: Raft (Ongaro and Ousterhout 2014; Ongaro's thesis 2014). One leader a term orders all entries; an entry is
// committed once a majority of the voters has it on disk; whoever is elected has all committed ones. With it:
//   pre-vote            a candidate asks first whether it would win, so that a node that was cut off does not depose a
//                       leader by its high term when it comes back (thesis, 9.6)
//   stickiness, lease   who hears a leader votes for nobody for `election_min`; a leader that a majority has followed
//                       within `lease`, which is shorter, therefore is the only one, and reads without asking anybody
//                       (thesis, 6.4). Where the lease is over a read waits for one round of heartbeats
//   check of quorum     a leader that no majority follows steps down, so that clients are told
//   learners            follow and do not count: a new voter catches up as one first
//   one voter at a time is added or removed, by an entry that counts from when it is appended (thesis, chapter 4),
//                       and only once an entry of the leader's own term is committed (Ongaro, raft-dev, July 2015)
//   forced quorum       when most voters are lost for good the root names those who go on, as another group. They begin
//                       with an election that all of them must vote in, so that whatever one of them has is kept; then
//                       their configuration is an entry like any other. Whoever is not named forgets the former group
//   snapshots           the applied prefix is replaced by the state it made, and sent in parts to who lacks the prefix
// Nothing is said that is not on disk: term and vote before a vote, entries before they are acknowledged, by us as by
// others. Messages that wait for the disk stand in one queue with the records they wait for.
//
// Rejected: Paxos variants without a leader (EPaxos: one round trip less across continents, at a price in proofs and
// code that a robot's radio does not repay); joint consensus (one voter at a time is enough, and simpler); a lease
// without stickiness after a restart (a voter that forgot whom it follows would break it: it waits `election_min`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "consensus/configuration.h"
#include "consensus/log.h"
#include "env/outbox.h"
#include "wire/consensus_messages.h"
#include "wire/message_type.h"

namespace sedge::consensus {

using wire::GroupId;
using wire::Round;
using wire::Term;

struct RaftOptions {
  NodeId self;
  NodeId former;                   // whose log is on our disk, before we took another id; zero: ours
  std::uint64_t seed = 0;          // of election timeouts
  Duration heartbeat = 250ms;      // 4 a second to each of four followers: 85 bytes with headers, 1.4 KB/s
  Duration election_min = 1s;      // a leader silent for so long, and up to twice as long, is replaced
  Duration lease = 900ms;          // below election_min by more than clocks may drift apart in it
  Duration resend = 1s;            // entries not acknowledged for so long are sent again
  std::size_t batch_entries = 64;  // of one append
  std::size_t batch_bytes = 64 << 10;
  std::size_t batches_in_flight = 4;   // to one follower; more wait for its acknowledgements
  std::size_t uncommitted_max = 1024;  // entries; beyond: ResourceExhausted
  std::size_t uncommitted_bytes = 1 << 20;
  std::size_t snapshot_every = 1024;  // entries, or
  std::size_t snapshot_log_bytes = 1 << 20;
  std::size_t trailing = 128;  // entries kept behind a snapshot
  std::size_t snapshot_part = 32 << 10;
  std::size_t snapshot_max = 8 << 20;  // bytes; larger ones are refused
  std::size_t reads_max = 256;         // that wait for a round; beyond: ResourceExhausted
};

enum class Role : std::uint8_t { kFollower, kCandidate, kLeader };

class Raft {
 public:
  // What the log drives. Called in order of the log, each committed command once in each life.
  struct Hooks {
    std::function<void(Index, Bytes command)> apply;
    std::function<Buffer()> snapshot;               // of what was applied so far
    std::function<Status(Bytes snapshot)> restore;  // replaces everything
  };
  Raft(RaftOptions options, Hooks hooks);

  // What drain() handed out under kBucket in an earlier life, in order of keys. Errors: DataLoss.
  static constexpr const char* kBucket = "consensus";
  Status load(Bytes key, Bytes value);
  void start(Instant now);
  // Begins a group with ourselves as its only voter. Requires: in no group; after start().
  void found(GroupId group, Instant now);

  // Another group takes the place of the former one; an order that is no newer than the last changes nothing. Requires:
  // after start(); well formed, with the root's signature looked at.
  void force(const wire::ForcedQuorum& order, Instant now);

  // Types kRaftVote to kRaftSnapshotReply. Errors: DataLoss, InvalidArgument: drop it and count it against `from`.
  // FailedPrecondition: of another group.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_link_up(NodeId peer, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);
  void on_persisting(env::Lsn lsn);
  void on_durable(env::Lsn upto, Instant now);

  // Appends a command; returns where. Committed once apply() was called for that index with the term unchanged.
  // Errors: Unavailable: not the leader. ResourceExhausted: too much is under way.
  Result<Index> propose(Buffer command, Instant now);
  // Errors: Unavailable: not the leader. FailedPrecondition: a change is under way, or too early in the term.
  // InvalidArgument: more than one voter changes.
  Status change(Configuration next, Instant now);
  // Asks whether what is applied now may be read. A ReadResult with this number follows, possibly at once.
  using ReadId = Number<struct ReadIdTag>;
  Result<ReadId> read(Instant now);
  struct ReadResult {
    ReadId id;
    bool current = false;  // false: no leader any more; ask the next one
  };
  std::vector<ReadResult> take_reads() { return std::exchange(read_results_, {}); }
  // Gives the lead to the follower that is furthest, and follows. Nothing where there is none.
  void hand_over(Instant now);

  GroupId group() const { return group_; }
  Role role() const { return role_; }
  bool leads() const { return role_ == Role::kLeader; }
  Term term() const { return term_; }
  NodeId leader() const { return leader_; }  // zero: nobody known
  Index committed() const { return commit_; }
  const Log& log() const { return log_; }
  const Configuration& configuration() const { return configuration_; }
  Index last_index() const { return log_.last(); }
  Index configuration_index() const { return configuration_index_; }
  bool configuration_settled() const { return configuration_index_ <= commit_; }
  std::uint64_t forced() const { return order_.number; }  // of the last order obeyed
  // Of a forced quorum: its voters are named by the order and not by the log yet.
  bool configuration_forced() const { return configuration_index_ == kOrdered; }
  bool lease_holds(Instant now) const;
  bool leads_settled() const { return leads() && commit_ >= term_start_; }  // an entry of its own term is committed
  // For the leader: the follower has all but what is on its way.
  bool caught_up(NodeId peer) const;
  // For the leader: voters heard within election_min, itself included.
  std::size_t voters_heard(Instant now) const;

 private:
  struct Snapshot {
    Index index = 0;
    Term term;
    Configuration configuration;
    Buffer data;
    template <class V>
    void fields(V& visit) {
      visit("index", index);
      visit("term", term);
      visit("configuration", configuration);
      visit("data", data);
    }
  };
  struct Hard {
    GroupId group;
    Term term;
    NodeId vote;
    template <class V>
    void fields(V& visit) {
      visit("group", group);
      visit("term", term);
      visit("vote", vote);
    }
  };
  // Waits for the records before it in the queue to be durable; then all of it is done.
  struct Held {
    std::optional<env::Lsn> lsn = {};  // of those records, once they were handed out
    std::optional<env::Send> send = {};
    Index durable = 0;   // entries are on disk up to here
    Term own_vote = {};  // counts for ourselves, in that term
    bool hard = false;   // term and vote are on disk
  };
  struct Progress {
    Index next = 1;            // to be sent
    Index match = 0;           // known to be durable there
    bool probing = true;       // one batch at a time, until a place is found where the logs agree
    std::deque<Index> flight;  // batches sent, by their last entries
    Instant moved{};           // when something was last acknowledged, or sent anew
    Round acked;
    Instant heard{};
    std::shared_ptr<const Snapshot> snapshot;  // on its way
    std::uint64_t offset = 0;                  // of it, acknowledged
  };
  struct Incoming {
    Index index = 0;
    Term term;
    Buffer data;
  };
  struct Reading {
    ReadId id;
    Round after;  // a round that began later must have been followed by a majority
  };

  // Elections and durability (raft.cc).
  template <class T>
  void say(NodeId to, wire::MessageType type, const T& message, bool when_durable);
  void persist_hard();
  void persist_entry(Index index);
  void persist_snapshot(Snapshot snapshot);
  void erase_entries(Index upto);
  void hold(Held what);
  void settle(const Held& done, Instant now);
  Status adopt_group(GroupId group);
  void forget_group();
  std::size_t votes_needed() const;
  void inherit(Instant now);
  Instant patience(Instant now);
  void step_down(Term term, NodeId leader, Instant now);
  void ask_votes(bool pre, bool told, Instant now);
  void count_votes(Instant now);
  void lead(Instant now);
  bool may_lead() const;
  bool hears_a_leader(Instant now) const;
  Status on_vote(NodeId from, const wire::RaftVote& vote, Instant now);
  void on_vote_reply(NodeId from, const wire::RaftVoteReply& reply, Instant now);
  void use_configuration();
  std::pair<Configuration, Index> configuration_at(Index index) const;

  // The leader's side (raft_leader.cc).
  void append_own(wire::LogKind kind, Buffer data);
  void heartbeat(Instant now);
  wire::RaftAppend append_after(Index previous) const;
  void send_entries(NodeId to, Progress& peer, Instant now);
  void send_heartbeat(NodeId to, Progress& peer, Instant now);
  void send_snapshot(NodeId to, Progress& peer, Instant now);
  void note_round(Progress& peer, Round round, Instant now);
  void on_append_reply(NodeId from, const wire::RaftAppendReply& reply, Instant now);
  void on_snapshot_reply(NodeId from, const wire::RaftSnapshotReply& reply, Instant now);
  void advance_commit(Instant now);
  Round followed_round() const;
  void answer_reads();

  // The follower's side (raft_follower.cc).
  Status on_append(NodeId from, const wire::RaftAppend& append, Instant now);
  Status take_entries(const wire::RaftAppend& append, bool& grew);
  Index hint_below(Index previous) const;
  Status on_snapshot(NodeId from, const wire::RaftSnapshot& part, Instant now);
  Status install(const wire::RaftSnapshot& part);
  void drop_from(Index from);
  void apply_committed(Instant now);
  void compact();

  RaftOptions options_;
  Hooks hooks_;
  Prng prng_;
  bool started_ = false;

  static constexpr Index kOrdered = ~Index{0};  // configuration_index_ of one that is in no log: never settled

  Buffer empty_;  // a snapshot of nothing
  wire::ForcedQuorum order_;
  GroupId group_;
  Term term_;
  NodeId vote_;
  Log log_;
  Index disk_first_ = 1;  // the first entry that may be on disk
  std::shared_ptr<const Snapshot> snapshot_;
  Index commit_ = 0;
  Index applied_ = 0;
  Index durable_ = 0;
  Configuration configuration_;
  Index configuration_index_ = 0;

  Role role_ = Role::kFollower;
  bool pre_ = false;  // a candidate that only asks
  NodeId leader_;
  Instant heard_{};  // the leader, last
  Instant election_at_ = kNever;
  unsigned asked_in_vain_ = 0;
  std::set<NodeId> votes_;
  std::optional<Incoming> incoming_;

  std::map<NodeId, Progress> peers_;
  Index term_start_ = 0;  // the leader's first entry
  Instant next_heartbeat_ = kNever;
  Round round_;
  std::deque<std::pair<Round, Instant>> rounds_;  // when each began
  std::deque<Reading> reads_;
  ReadId last_read_;
  std::vector<ReadResult> read_results_;

  std::vector<env::Send> sends_;
  std::vector<env::Record> records_;  // each batch of them is followed by something in held_
  std::deque<Held> held_;
  std::size_t hard_held_ = 0;
};

template <class T>
void Raft::say(NodeId to, wire::MessageType type, const T& message, bool when_durable) {
  env::Send send{to, env::Priority::kControl, false, wire::frame(type, message)};
  if (when_durable && !held_.empty())
    held_.push_back({.lsn = held_.back().lsn, .send = std::move(send)});
  else
    sends_.push_back(std::move(send));
}

}  // namespace sedge::consensus
