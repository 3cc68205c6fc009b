// The follower's side of Raft: taking entries and snapshots, applying what is committed, and compacting.
#include <algorithm>
#include <utility>

#include "consensus/raft.h"

namespace sedge::consensus {
namespace {

// Of a leader that appends and never commits; more is not taken.
constexpr std::size_t kLogEntriesMax = 16384;
constexpr std::size_t kLogBytesMax = 16 << 20;

}  // namespace

Status Raft::on_append(NodeId from, const wire::RaftAppend& append, Instant now) {
  if (group_ == GroupId{}) SEDGE_CHECK(adopt_group(append.group));
  const auto answer = [&](bool matched, Index index, bool when_durable) {
    say(from, wire::MessageType::kRaftAppendReply, wire::RaftAppendReply{group_, term_, append.round, matched, {index}},
        when_durable);
  };
  if (append.term < term_) return answer(false, log_.last(), true), Status();
  if (append.term == term_ && leads()) return fail(Code::kDataLoss, "a second leader in term {}", term_.value);
  for (const wire::LogEntry& entry : append.entries) {
    if (entry.kind != wire::LogKind::kConfiguration) continue;
    SEDGE_TRY(const Configuration next, wire::decode<Configuration>(entry.data));
    if (!well_formed(next)) return fail(Code::kDataLoss, "a configuration that is not well formed");
  }
  step_down(append.term, from, now);
  heard_ = now;
  asked_in_vain_ = 0;
  election_at_ = patience(now);

  const Index previous = append.previous_index.value;
  if (previous > log_.last() || (previous >= log_.base() && log_.term_at(previous) != append.previous_term)) {
    return answer(false, hint_below(previous), hard_held_ > 0), Status();
  }
  bool grew = false;
  SEDGE_CHECK(take_entries(append, grew));
  const Index matched = std::min(previous + append.entries.size(), log_.last());
  if (const Index commit = std::min(append.commit.value, matched); commit > commit_) {
    commit_ = commit;
    apply_committed(now);
  }
  // What is on disk is acknowledged at once; the rest when it is there.
  if (!grew) answer(true, std::min(matched, durable_), hard_held_ > 0);
  if (grew || matched > durable_) answer(true, matched, true);
  if (append.take_over && is_voter(configuration_, options_.self)) ask_votes(false, true, now);
  return {};
}

// What agrees is left as it is: an append that was overtaken by a later one must not cut the log short.
Status Raft::take_entries(const wire::RaftAppend& append, bool& grew) {
  bool configured = false;
  Index index = append.previous_index.value;
  for (const wire::LogEntry& entry : append.entries) {
    ++index;
    if (index <= log_.base() || log_.term_at(index) == entry.term) continue;
    if (index <= log_.last()) {
      if (index <= commit_) return fail(Code::kDataLoss, "committed entry {} would be replaced", index);
      drop_from(index);
      configured = true;
    }
    if (log_.size() >= kLogEntriesMax || log_.bytes() >= kLogBytesMax) break;
    log_.append(entry);
    persist_entry(index);
    grew = true;
    configured |= entry.kind == wire::LogKind::kConfiguration;
  }
  if (grew) hold({.durable = log_.last()});
  if (configured) use_configuration();
  return {};
}

// Where the leader may look next: before all of the term that does not agree, in one step.
Index Raft::hint_below(Index previous) const {
  if (previous > log_.last() || previous == 0) return std::min(previous, log_.last());
  const auto term = log_.term_at(previous);
  Index at = previous - 1;
  while (at > std::max(log_.base(), commit_) && log_.term_at(at) == term) --at;
  return at;
}

// --- applying
// ------------------------------------------------------------------------------------------------------------

void Raft::apply_committed(Instant now) {
  while (applied_ < commit_) {
    ++applied_;
    const wire::LogEntry& entry = log_.at(applied_);
    if (entry.kind == wire::LogKind::kCommand) hooks_.apply(applied_, entry.data);
  }
  compact();
  // Removed, and it is settled: another one leads.
  if (leads() && configuration_settled() && !is_voter(configuration_, options_.self)) {
    for (auto& [id, peer] : peers_) send_heartbeat(id, peer, now);
    hand_over(now);
    if (leads()) step_down(term_, NodeId{}, now);
  }
}

void Raft::compact() {
  const Index from = snapshot_ ? snapshot_->index : 0;
  const Index fresh = applied_ - from;
  const bool large = log_.bytes() > options_.snapshot_log_bytes && fresh >= options_.trailing;
  if (fresh < options_.snapshot_every && !large) return;
  persist_snapshot({.index = applied_,
                    .term = log_.term_at(applied_).value_or(Term{}),
                    .configuration = configuration_at(applied_).first,
                    .data = hooks_.snapshot()});
  const Index keep = std::max(log_.base(), applied_ - std::min<Index>(applied_, options_.trailing));
  erase_entries(keep);
  log_.compact(keep, log_.term_at(keep).value_or(Term{}));
}

// --- snapshots
// -----------------------------------------------------------------------------------------------------------

Status Raft::on_snapshot(NodeId from, const wire::RaftSnapshot& part, Instant now) {
  if (group_ == GroupId{}) SEDGE_CHECK(adopt_group(part.group));
  if (part.term < term_) {
    say(from, wire::MessageType::kRaftAppendReply,
        wire::RaftAppendReply{group_, term_, part.round, false, {log_.last()}}, true);
    return {};
  }
  if (part.term == term_ && leads()) return fail(Code::kDataLoss, "a second leader in term {}", term_.value);
  if (part.total > options_.snapshot_max || part.offset > part.total || part.data.size() > part.total - part.offset ||
      !well_formed(part.configuration)) {
    return fail(Code::kDataLoss, "a snapshot's part that does not fit it");
  }
  step_down(part.term, from, now);
  heard_ = now;
  asked_in_vain_ = 0;
  election_at_ = patience(now);
  const Index index = part.index.value;
  if (index > commit_) {
    if (!incoming_ || incoming_->index != index || incoming_->term != part.index_term) {
      incoming_ = Incoming{index, part.index_term, {}};
    }
    Buffer& data = incoming_->data;
    if (part.offset == data.size()) data.insert(data.end(), part.data.begin(), part.data.end());
    if (data.size() < part.total) {
      say(from, wire::MessageType::kRaftSnapshotReply,
          wire::RaftSnapshotReply{group_, term_, part.round, part.index, data.size()}, hard_held_ > 0);
      return {};
    }
    SEDGE_CHECK(install(part));
  }
  say(from, wire::MessageType::kRaftAppendReply, wire::RaftAppendReply{group_, term_, part.round, true, part.index},
      true);
  return {};
}

Status Raft::install(const wire::RaftSnapshot& part) {
  Snapshot snapshot{.index = part.index.value,
                    .term = part.index_term,
                    .configuration = part.configuration,
                    .data = std::move(incoming_->data)};
  incoming_.reset();
  SEDGE_CHECK(hooks_.restore(snapshot.data));
  const Index index = snapshot.index;
  const bool agrees = log_.term_at(index) == snapshot.term;
  if (!agrees) {
    if (log_.last() > log_.base()) drop_from(log_.base() + 1);
    durable_ = 0;
    for (Held& each : held_) each.durable = 0;
  }
  erase_entries(index);
  if (agrees)
    log_.compact(index, snapshot.term);
  else
    log_.reset(index, snapshot.term);
  persist_snapshot(std::move(snapshot));
  held_.back().durable = index;
  commit_ = applied_ = index;
  use_configuration();
  return {};
}

}  // namespace sedge::consensus
