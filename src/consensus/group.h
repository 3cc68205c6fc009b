// The fleet's consensus group as a node sees it: Raft, the registry it drives, and requests from anywhere.
//
// A client asks its own node; a node that does not lead asks the leader, whom it knows as a follower or from hints that
// leaders write into the replicated state, and asks on until there is an answer or the request's patience is over. So
// every node of a fleet of thousands reads and writes agreed values, and five of them do the work.
//
// The node that may found (where the fleet was created) founds when it has run for a while and knows of no group. There
// is one group a fleet, named by a random number: messages of another are refused and reported, never merged.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"
#include "consensus/raft.h"
#include "consensus/registry.h"
#include "consensus/roster.h"
#include "env/outbox.h"

namespace sedge::consensus {

struct GroupOptions {
  NodeId self;
  RaftOptions raft;  // self and seed are set from here
  std::uint64_t seed = 0;
  bool may_found = false;
  Duration found_after = 1500ms;  // in which a group that exists already is heard of
  RosterOptions roster;
  Duration look_interval = 1s;     // at the roster, when leading
  Duration ask_again = 1s;         // a leader that does not answer
  Duration look_again = 200ms;     // for a leader, when none is known
  std::size_t requests_max = 256;  // of our clients; and as many of others at the leader. Beyond: ResourceExhausted

  std::function<std::vector<Candidate>(Instant now)> members;  // for the roster
  std::function<bool(NodeId)> alive;                           // for the words of errors
  std::function<Status(NodeId who, const wire::AgreedRequest&)> allows;
  std::function<void(const std::string&)> report;  // what a person should know
};

struct Lead {
  NodeId leader;  // zero: nobody, or not known
  Term term;
  std::vector<NodeId> voters;
};

class Group {
 public:
  explicit Group(GroupOptions options);

  static constexpr const char* kBucket = Raft::kBucket;
  Status load(Bytes key, Bytes value) { return raft_.load(key, value); }
  void start(Instant now);

  // Types kRaftVote to kAgreedAnswer. Errors: as Raft::on_message.
  Status on_message(NodeId from, wire::MessageType type, Bytes body, Instant now);
  void on_link_up(NodeId peer, Instant now);
  void on_timer(Instant now);
  Instant next_deadline() const;
  void drain(env::Outbox& out);
  void on_persisting(env::Lsn lsn) { raft_.on_persisting(lsn); }
  void on_durable(env::Lsn upto, Instant now);
  void on_hint(const wire::GroupHint& hint, Instant now);
  // The root's orders (trust/quorum.h), checked: all that there are, in the order of their numbers.
  void force(std::span<const wire::ForcedQuorum> orders, Instant now);
  // What a new leader, or one of new voters, wants everybody to know.
  std::optional<wire::GroupHint> take_hint();
  void on_members_changed(Instant now);  // somebody was revoked: looked at at once

  // `done` is called once, at the latest when the patience is over. Errors: InvalidArgument; PermissionDenied;
  // FailedPrecondition: another version is there; ResourceExhausted: retry soon; Unavailable: no majority answers, the
  // message says what is missing. After Unavailable a write may have been carried out or may yet be: ask again with the
  // same id. A get of nothing gives version 0.
  using Done = std::function<void(const Result<Agreed>&)>;
  void submit(wire::AgreedRequest request, Duration patience, Done done, Instant now);
  void leave(Instant now);

  Lead lead() const;
  const Raft& raft() const { return raft_; }
  const Registry& registry() const { return registry_; }

 private:
  struct Open {
    wire::AgreedRequest request;
    Done done;
    Instant until{};
    Instant next{};
    NodeId asked;
    std::string last_error;
  };
  struct Reading {
    NodeId from;
    wire::AgreedRequest request;
  };

  bool part() const { return raft_.group() > GroupId{} && is_part(raft_.configuration(), options_.self); }
  void settle(Instant now);
  void applied(Index index, Bytes command);
  void serve(NodeId from, const wire::AgreedRequest& request, Instant now);
  void answer(NodeId to, wire::AgreedAnswer answer);
  void refuse(NodeId to, TaskId id, const Error& error);
  void elsewhere(NodeId to, TaskId id);
  void on_answer(NodeId from, const wire::AgreedAnswer& answer, Instant now);
  void attempt(Open& open, Instant now);
  NodeId whom_to_ask();
  void give_up(Instant now);
  Error out_of_patience(const Open& open) const;
  void look_at_roster(Instant now);

  GroupOptions options_;
  Prng prng_;
  Registry registry_;
  Raft raft_;
  wire::GroupHint hint_;
  std::optional<std::pair<Term, Index>> told_;
  bool stranger_reported_ = false;
  std::set<GroupId> former_;                  // in whose place the root has put another
  std::map<TaskId, Open> open_;               // our clients'
  std::map<TaskId, std::set<NodeId>> waits_;  // writes under way, and who wants to know; when leading
  std::map<Raft::ReadId, Reading> reads_;
  std::vector<wire::AgreedAnswer> own_answers_;
  std::vector<env::Send> sends_;
  NodeId last_leader_;
  std::size_t next_voter_ = 0;
  Instant found_at_ = kNever;
  Instant next_look_ = kNever;
  bool leaving_ = false;
};

}  // namespace sedge::consensus
