// Consensus on the wire: Raft between those who vote and learn, and what any node asks of the leader.
// The Raft messages are the paper's (Ongaro and Ousterhout 2014) with three additions: a vote may be a *pre-vote* that
// changes nobody's term; every append carries the number of the leader's *round*, which its reply repeats, so that
// the leader knows when a majority last followed it (reads without a log entry); and an append may tell its receiver to
// take over at once. `group` names one group for ever: a node of one group takes no part in another.
// Grammar: docs/formats/consensus.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/codec.h"
#include "wire/task_messages.h"

namespace sedge::wire {

using GroupId = Number<struct GroupIdTag>;    // drawn when the group is founded; 0: none
using Term = Number<struct TermTag>;          // counts elections; at most one leader each
using LogIndex = Number<struct LogIndexTag>;  // place in the log, from 1; 0: before its beginning
using Round = Number<struct RoundTag>;        // counts a leader's rounds of heartbeats within its term

// Who decides (voters, by majority) and who only listens (learners). Both sorted by id, and disjoint.
struct Configuration {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::uint64_t forced = 0;  // number of the forced quorum that it follows; 0: none. It only grows
  friend bool operator==(const Configuration&, const Configuration&) = default;

  template <class V>
  void fields(V& visit) {
    visit("voters", voters);
    visit("learners", learners);
    visit("forced", forced);
  }
};

// What the fleet's root orders when most voters are lost for good (trust/quorum.h has its signature): those who are
// left go on as another group, from the most that any of them has, and nobody obeys the former one any more.
struct ForcedQuorum {
  std::uint64_t number = 0;  // from 1; of several the greatest counts
  GroupId former;
  GroupId group;  // drawn
  std::vector<NodeId> voters;
  friend bool operator==(const ForcedQuorum&, const ForcedQuorum&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("former", former);
    visit("group", group);
    visit("voters", voters);
  }
};

enum class LogKind : std::uint8_t { kNothing, kCommand, kConfiguration };
constexpr LogKind wire_last(LogKind) { return LogKind::kConfiguration; }

struct LogEntry {
  Term term;
  LogKind kind = LogKind::kNothing;  // nothing: a leader's first entry, which commits those before it
  Buffer data;                       // a command, or an encoded Configuration
  friend bool operator==(const LogEntry&, const LogEntry&) = default;

  template <class V>
  void fields(V& visit) {
    visit("term", term);
    visit("kind", kind);
    visit("data", data);
  }
};

struct RaftVote {
  GroupId group;
  Term term;  // that is, or with `pre` would be, the candidate's
  LogIndex last_index;
  Term last_term;
  bool pre = false;
  bool told = false;  // the leader told it to take over: its followers need not wait until it is silent
  friend bool operator==(const RaftVote&, const RaftVote&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("last_index", last_index);
    visit("last_term", last_term);
    visit("pre", pre);
    visit("told", told);
  }
};

struct RaftVoteReply {
  GroupId group;
  Term term;  // of the request when granted, else the voter's own
  bool pre = false;
  bool granted = false;
  friend bool operator==(const RaftVoteReply&, const RaftVoteReply&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("pre", pre);
    visit("granted", granted);
  }
};

struct RaftAppend {
  GroupId group;
  Term term;
  Round round;
  LogIndex previous_index;
  Term previous_term;
  LogIndex commit;
  bool take_over = false;
  std::vector<LogEntry> entries;  // none: a heartbeat
  friend bool operator==(const RaftAppend&, const RaftAppend&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("round", round);
    visit("previous_index", previous_index);
    visit("previous_term", previous_term);
    visit("commit", commit);
    visit("take_over", take_over);
    visit("entries", entries);
  }
};

struct RaftAppendReply {
  GroupId group;
  Term term;
  Round round;
  bool matched = false;
  LogIndex index;  // matched: durable and equal to the leader's log up to here; else try from here
  friend bool operator==(const RaftAppendReply&, const RaftAppendReply&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("round", round);
    visit("matched", matched);
    visit("index", index);
  }
};

struct RaftSnapshot {
  GroupId group;
  Term term;
  Round round;
  LogIndex index;  // the last entry that it stands for
  Term index_term;
  Configuration configuration;  // at that entry
  std::uint64_t total = 0;      // bytes of the whole
  std::uint64_t offset = 0;
  Buffer data;
  friend bool operator==(const RaftSnapshot&, const RaftSnapshot&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("round", round);
    visit("index", index);
    visit("index_term", index_term);
    visit("configuration", configuration);
    visit("total", total);
    visit("offset", offset);
    visit("data", data);
  }
};

struct RaftSnapshotReply {
  GroupId group;
  Term term;
  Round round;
  LogIndex index;
  std::uint64_t offset = 0;  // so many bytes are there
  friend bool operator==(const RaftSnapshotReply&, const RaftSnapshotReply&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("round", round);
    visit("index", index);
    visit("offset", offset);
  }
};

enum class AgreedOp : std::uint8_t { kGet, kSet, kErase };
constexpr AgreedOp wire_last(AgreedOp) { return AgreedOp::kErase; }

// Also the command in the log, where it is a write.
struct AgreedRequest {
  TaskId id;  // the client's: sent again with it, it is carried out once
  AgreedOp op = AgreedOp::kGet;
  std::string path;
  Buffer value;
  std::optional<std::uint64_t> if_version;  // only where the value there has this version; 0: only where there is none
  friend bool operator==(const AgreedRequest&, const AgreedRequest&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("op", op);
    visit("path", path);
    visit("value", value);
    visit("if_version", if_version);
  }
};

enum class AgreedEnd : std::uint8_t {
  kDone,
  kRefused,
  kElsewhere
};  // elsewhere: ask `leader`, or again a little later
constexpr AgreedEnd wire_last(AgreedEnd) { return AgreedEnd::kElsewhere; }

struct AgreedAnswer {
  TaskId id;
  AgreedEnd end = AgreedEnd::kDone;
  Code code = Code::kUnknown;  // when refused
  std::string message;
  NodeId leader;              // who is, as far as the answering node knows; zero: nobody
  std::uint64_t version = 0;  // of the value, once it was carried out; 0: there is none
  Buffer value;               // of a get
  friend bool operator==(const AgreedAnswer&, const AgreedAnswer&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("end", end);
    visit("code", code);
    visit("message", message);
    visit("leader", leader);
    visit("version", version);
    visit("value", value);
  }
};

// The replicated entry sys/node/<id>/consensus, written by leaders: whom to ask. Newer by (term, index).
struct GroupHint {
  GroupId group;
  Term term;
  LogIndex index;  // of the configuration
  NodeId leader;
  std::vector<NodeId> voters;
  friend bool operator==(const GroupHint&, const GroupHint&) = default;

  template <class V>
  void fields(V& visit) {
    visit("group", group);
    visit("term", term);
    visit("index", index);
    visit("leader", leader);
    visit("voters", voters);
  }
};

}  // namespace sedge::wire
