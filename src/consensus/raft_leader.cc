// The leader's side of Raft: heartbeats in numbered rounds, entries in batches with a window a follower, snapshots in
// parts to who is too far behind, and reads that need no entry.
#include <algorithm>
#include <utility>

#include "consensus/raft.h"

namespace sedge::consensus {
namespace {

constexpr std::size_t kRoundsMax = 64;  // at 250 ms each 16 s, many leases

}  // namespace

Result<Index> Raft::propose(Buffer command, Instant now) {
  if (!leads()) return fail(Code::kUnavailable, "this node does not lead");
  std::size_t bytes = command.size();
  for (Index at = commit_ + 1; at <= log_.last(); ++at) bytes += entry_bytes(log_.at(at));
  if (log_.last() - commit_ >= options_.uncommitted_max || bytes > options_.uncommitted_bytes) {
    return fail(Code::kResourceExhausted, "{} writes wait for a majority: try again soon", log_.last() - commit_);
  }
  append_own(wire::LogKind::kCommand, std::move(command));
  for (auto& [id, peer] : peers_) send_entries(id, peer, now);
  return log_.last();
}

Status Raft::change(Configuration next, Instant now) {
  if (!leads()) return fail(Code::kUnavailable, "this node does not lead");
  if (!configuration_settled() || !leads_settled()) {
    return fail(Code::kFailedPrecondition, "another change is under way");
  }
  next.forced = configuration_.forced;
  if (!well_formed(next) || next.voters.empty() || voters_changed(configuration_, next) > 1) {
    return fail(Code::kInvalidArgument, "a configuration changes by one voter at a time");
  }
  append_own(wire::LogKind::kConfiguration, wire::encode(next));
  for (auto& [id, peer] : peers_) send_entries(id, peer, now);
  return {};
}

// Written and sent at once, counted for ourselves when it is on disk.
void Raft::append_own(wire::LogKind kind, Buffer data) {
  log_.append({term_, kind, std::move(data)});
  persist_entry(log_.last());
  hold({.durable = log_.last()});
  if (kind == wire::LogKind::kConfiguration) use_configuration();
}

void Raft::heartbeat(Instant now) {
  ++round_;
  rounds_.emplace_back(round_, now);
  if (rounds_.size() > kRoundsMax) rounds_.pop_front();
  next_heartbeat_ = peers_.empty() ? kNever : now + options_.heartbeat;  // alone there is nobody to tell
  for (auto& [id, peer] : peers_) {
    const bool waits = peer.match + 1 < peer.next || peer.snapshot;
    if (waits && now - peer.moved >= options_.resend) {
      peer.flight.clear();
      peer.next = peer.match + 1;
      peer.probing = true;
      peer.moved = now;
      if (peer.snapshot) send_snapshot(id, peer, now);
    }
    send_heartbeat(id, peer, now);
  }
  answer_reads();
}

wire::RaftAppend Raft::append_after(Index previous) const {
  wire::RaftAppend append{.group = group_, .term = term_, .round = round_, .previous_index = {previous}};
  append.previous_term = log_.term_at(previous).value_or(Term{});
  append.commit = {commit_};
  return append;
}

// Says that we lead, and asks whether the logs agree. To who is further behind than our log goes it says so of the
// log's base; its answer starts a snapshot.
void Raft::send_heartbeat(NodeId to, Progress& peer, Instant now) {
  send_entries(to, peer, now);
  const Index previous = std::max(peer.probing ? peer.next - 1 : peer.match, log_.base());
  say(to, wire::MessageType::kRaftAppend, append_after(previous), false);
}

void Raft::send_entries(NodeId to, Progress& peer, Instant now) {
  if (peer.snapshot) return;
  if (peer.next <= log_.base()) return send_snapshot(to, peer, now);
  const std::size_t window = peer.probing ? 1 : options_.batches_in_flight;
  while (peer.next <= log_.last() && peer.flight.size() < window) {
    wire::RaftAppend append = append_after(peer.next - 1);
    std::size_t bytes = 0;
    for (; peer.next <= log_.last() && append.entries.size() < options_.batch_entries; ++peer.next) {
      const wire::LogEntry& entry = log_.at(peer.next);
      bytes += entry_bytes(entry);
      if (!append.entries.empty() && bytes > options_.batch_bytes) break;
      append.entries.push_back(entry);
    }
    if (peer.flight.empty()) peer.moved = now;
    peer.flight.push_back(peer.next - 1);
    say(to, wire::MessageType::kRaftAppend, append, false);
  }
}

void Raft::send_snapshot(NodeId to, Progress& peer, Instant now) {
  if (!peer.snapshot) {
    SEDGE_ASSERT(snapshot_ && snapshot_->index >= log_.base());
    peer.snapshot = snapshot_;  // the same one to the end, whatever is compacted meanwhile
    peer.offset = 0;
  }
  const Snapshot& snapshot = *peer.snapshot;
  const auto from = std::min<std::uint64_t>(peer.offset, snapshot.data.size());
  const Bytes rest = Bytes(snapshot.data).subspan(static_cast<std::size_t>(from));
  const wire::RaftSnapshot part{.group = group_,
                                .term = term_,
                                .round = round_,
                                .index = {snapshot.index},
                                .index_term = snapshot.term,
                                .configuration = snapshot.configuration,
                                .total = snapshot.data.size(),
                                .offset = from,
                                .data = to_buffer(rest.first(std::min(rest.size(), options_.snapshot_part)))};
  peer.moved = now;
  say(to, wire::MessageType::kRaftSnapshot, part, false);
}

void Raft::note_round(Progress& peer, Round round, Instant now) {
  peer.heard = now;
  if (round <= round_) peer.acked = std::max(peer.acked, round);
  answer_reads();
}

void Raft::on_append_reply(NodeId from, const wire::RaftAppendReply& reply, Instant now) {
  if (reply.term > term_) return step_down(reply.term, NodeId{}, now);
  const auto found = peers_.find(from);
  if (!leads() || reply.term < term_ || found == peers_.end()) return;
  Progress& peer = found->second;
  note_round(peer, reply.round, now);
  if (!reply.matched) {  // lower each time, down to what it has acknowledged; one that comes late lowers nothing
    const Index lowest = peer.match + 1;
    const Index next = std::clamp(reply.index.value + 1, lowest, std::max(lowest, peer.next - 1));
    if (next >= peer.next) return;
    peer.next = next;
    peer.probing = true;
    peer.flight.clear();
    return send_entries(from, peer, now);
  }
  if (const Index match = std::min(reply.index.value, log_.last()); match > peer.match) {
    peer.match = match;
    peer.moved = now;
  }
  while (!peer.flight.empty() && peer.flight.front() <= peer.match) peer.flight.pop_front();
  peer.next = std::max(peer.next, peer.match + 1);
  peer.probing = false;
  if (peer.snapshot && peer.match >= std::min(peer.snapshot->index, log_.base())) {  // then by entries, or a newer one
    peer.snapshot.reset();
    peer.next = peer.match + 1;
  }
  send_entries(from, peer, now);
  advance_commit(now);
}

void Raft::on_snapshot_reply(NodeId from, const wire::RaftSnapshotReply& reply, Instant now) {
  if (reply.term > term_) return step_down(reply.term, NodeId{}, now);
  const auto found = peers_.find(from);
  if (!leads() || reply.term < term_ || found == peers_.end()) return;
  Progress& peer = found->second;
  note_round(peer, reply.round, now);
  if (!peer.snapshot || reply.index.value != peer.snapshot->index || reply.offset == peer.offset) return;
  peer.offset = std::min<std::uint64_t>(reply.offset, peer.snapshot->data.size());
  if (peer.offset < peer.snapshot->data.size()) send_snapshot(from, peer, now);
}

// An entry of an older term is never committed by counting: a leader to come might not have it (Raft, 5.4.2).
void Raft::advance_commit(Instant now) {
  std::vector<Index> matches;
  for (const NodeId id : configuration_.voters) {
    const auto peer = peers_.find(id);
    matches.push_back(id == options_.self ? durable_ : peer == peers_.end() ? 0 : peer->second.match);
  }
  std::ranges::sort(matches, std::greater<>());
  const Index agreed = matches[majority(configuration_) - 1];
  if (agreed <= commit_ || log_.term_at(agreed) != term_) return;
  commit_ = agreed;
  apply_committed(now);
  if (!leads()) return;
  answer_reads();
}

// --- reads
// -------------------------------------------------------------------------------------------------------------

// The latest round that a majority has followed, ourselves included.
Round Raft::followed_round() const {
  std::vector<Round> rounds;
  for (const NodeId id : configuration_.voters) {
    const auto peer = peers_.find(id);
    rounds.push_back(id == options_.self ? round_ : peer == peers_.end() ? Round{} : peer->second.acked);
  }
  std::ranges::sort(rounds, std::greater<>());
  return rounds[majority(configuration_) - 1];
}

bool Raft::lease_holds(Instant now) const {
  if (!leads_settled() || configuration_.voters.empty()) return false;
  if (configuration_.voters == std::vector{options_.self}) return true;
  const auto began = std::ranges::find(rounds_, followed_round(), &std::pair<Round, Instant>::first);
  return began != rounds_.end() && now < began->second + options_.lease;
}

Result<Raft::ReadId> Raft::read(Instant now) {
  if (!leads()) return fail(Code::kUnavailable, "this node does not lead");
  if (reads_.size() >= options_.reads_max) {
    return fail(Code::kResourceExhausted, "{} reads wait for a majority: try again soon", reads_.size());
  }
  ++last_read_;
  if (lease_holds(now)) {
    read_results_.push_back({last_read_, true});
    return last_read_;
  }
  const bool first = reads_.empty();
  reads_.push_back({last_read_, round_});
  if (first) heartbeat(now);  // others join the next round
  return last_read_;
}

void Raft::answer_reads() {
  if (!leads_settled()) return;
  const Round followed = followed_round();
  while (!reads_.empty() && followed > reads_.front().after) {
    read_results_.push_back({reads_.front().id, true});
    reads_.pop_front();
  }
}

bool Raft::caught_up(NodeId peer) const {
  const auto found = peers_.find(peer);
  return found != peers_.end() && found->second.match + options_.batch_entries >= log_.last() &&
         found->second.match >= term_start_;
}

std::size_t Raft::voters_heard(Instant now) const {
  const auto heard = [&](NodeId id) {
    const auto peer = peers_.find(id);
    return id == options_.self || (peer != peers_.end() && now < peer->second.heard + 2 * options_.election_min);
  };
  return static_cast<std::size_t>(std::ranges::count_if(configuration_.voters, heard));
}

// Told to the voter that has most, which asks for votes at once. We follow from now on, so that no lease of ours is
// left when it is elected.
void Raft::hand_over(Instant now) {
  if (!leads()) return;
  const Progress* best = nullptr;
  NodeId heir;
  for (const auto& [id, peer] : peers_) {
    if (!is_voter(configuration_, id) || (best != nullptr && best->match >= peer.match)) continue;
    best = &peer;
    heir = id;
  }
  if (best == nullptr || best->probing) return;
  wire::RaftAppend append = append_after(best->match);
  append.take_over = true;
  for (Index at = best->match + 1; at <= log_.last() && append.entries.size() < options_.batch_entries; ++at) {
    append.entries.push_back(log_.at(at));
  }
  say(heir, wire::MessageType::kRaftAppend, append, false);
  step_down(term_, NodeId{}, now);
}

}  // namespace sedge::consensus
