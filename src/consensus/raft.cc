// Raft: durability, elections, and the dispatch of messages. The leader's and the follower's sides have files of their
// own. Records on disk: docs/formats/consensus.md.
#include "consensus/raft.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace sedge::consensus {
namespace {

constexpr char kEntryKey = 'e';  // then the index, 8 bytes big-endian. Keys load in this order: e, h, q, s
constexpr char kHardKey = 'h';
constexpr char kOrderKey = 'q';
constexpr char kSnapshotKey = 's';
constexpr unsigned kPatienceDoublings = 4;  // of who asks for votes in vain

Buffer entry_key(Index index) {
  Buffer key{static_cast<std::uint8_t>(kEntryKey)};
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<std::uint8_t>(index >> shift));
  return key;
}

Index index_of(Bytes key) {
  Index index = 0;
  for (const std::uint8_t byte : key.subspan(1)) index = index << 8 | byte;
  return index;
}

}  // namespace

Raft::Raft(RaftOptions options, Hooks hooks) : options_(options), hooks_(std::move(hooks)), prng_(options.seed) {
  if (hooks_.snapshot) empty_ = hooks_.snapshot();
}

// --- durability ------------------------------------------------------------------------------------------------------

Status Raft::load(Bytes key, Bytes value) {
  if (key.size() == 9 && key[0] == kEntryKey) {
    const Index index = index_of(key);
    SEDGE_TRY(wire::LogEntry entry, wire::decode<wire::LogEntry>(value));
    if (entry.kind == wire::LogKind::kConfiguration) SEDGE_CHECK(wire::decode<Configuration>(entry.data));
    if (log_.size() == 0) {
      if (index == 0) return fail(Code::kDataLoss, "consensus log: an entry 0");
      log_.reset(index - 1, Term{});
      disk_first_ = index;
    }
    if (index != log_.last() + 1) return fail(Code::kDataLoss, "consensus log: entry {} is missing", log_.last() + 1);
    log_.append(std::move(entry));
    return {};
  }
  if (key.size() != 1) return fail(Code::kDataLoss, "consensus: a record with a key of {} bytes", key.size());
  if (key[0] == kHardKey) {
    SEDGE_TRY(const Hard hard, wire::decode<Hard>(value));
    group_ = hard.group;
    term_ = hard.term;
    vote_ = hard.vote;
    return {};
  }
  if (key[0] == kOrderKey) {
    SEDGE_TRY(order_, wire::decode<wire::ForcedQuorum>(value));
    return {};
  }
  if (key[0] != kSnapshotKey) return fail(Code::kDataLoss, "consensus: a record of unknown kind {}", key[0]);
  SEDGE_TRY(Snapshot snapshot, wire::decode<Snapshot>(value));
  SEDGE_CHECK(hooks_.restore(snapshot.data));
  snapshot_ = std::make_shared<const Snapshot>(std::move(snapshot));
  return {};
}

// What the log on disk holds below the snapshot is of no use: its first term is not known.
void Raft::start(Instant now) {
  const Index from = snapshot_ ? snapshot_->index : 0;
  if (log_.size() == 0 || log_.last() < from) {
    log_.reset(from, snapshot_ ? snapshot_->term : Term{});
  } else {
    SEDGE_ASSERT(log_.base() <= from);  // snapshot and erased entries are one transaction
    log_.compact(from, snapshot_ ? snapshot_->term : Term{});
  }
  commit_ = applied_ = from;
  durable_ = log_.last();
  use_configuration();
  started_ = true;
  heard_ = now;  // we may have followed a leader until a moment ago, and it may count on us
  election_at_ = patience(now);
  inherit(now);
}

// A node with a new id takes part as a newcomer, and its former id, which is revoked, is removed by the others. But
// where that was the only voter nobody is left to do either; what the log says was its to decide alone, and it was us.
// In a term of its own, because in its last one the former id may have told learners more than this disk has.
void Raft::inherit(Instant now) {
  if (options_.former.is_zero() || configuration_.voters != std::vector{options_.former}) return;
  Configuration next = configuration_;
  next.voters = {options_.self};
  remove(next.learners, options_.self);
  ++term_;
  vote_ = options_.self;
  persist_hard();
  append_own(wire::LogKind::kConfiguration, wire::encode(next));
  election_at_ = now;  // nobody else can lead it
}

// What is held waits for the records before it.
void Raft::hold(Held what) {
  what.lsn = std::nullopt;
  if (what.hard) ++hard_held_;
  held_.push_back(std::move(what));
}

void Raft::persist_hard() {
  records_.push_back({kBucket, {static_cast<std::uint8_t>(kHardKey)}, wire::encode(Hard{group_, term_, vote_}), false});
  hold({.hard = true});
}

void Raft::persist_entry(Index index) {
  records_.push_back({kBucket, entry_key(index), wire::encode(log_.at(index)), false});
}

void Raft::persist_snapshot(Snapshot snapshot) {
  records_.push_back({kBucket, {static_cast<std::uint8_t>(kSnapshotKey)}, wire::encode(snapshot), false});
  snapshot_ = std::make_shared<const Snapshot>(std::move(snapshot));
  hold({});
}

void Raft::erase_entries(Index upto) {
  for (; disk_first_ <= std::min(upto, log_.last()); ++disk_first_) {
    records_.push_back({kBucket, entry_key(disk_first_), {}, true});
  }
  disk_first_ = std::max(disk_first_, upto + 1);
}

void Raft::drop_from(Index from) {
  for (Index index = from; index <= log_.last(); ++index) records_.push_back({kBucket, entry_key(index), {}, true});
  log_.truncate(from);
  durable_ = std::min(durable_, from - 1);
  for (Held& each : held_) each.durable = std::min(each.durable, from - 1);
  hold({});
}

void Raft::drain(env::Outbox& out) {
  std::ranges::move(sends_, std::back_inserter(out.sends));
  sends_.clear();
  std::ranges::move(records_, std::back_inserter(out.records));
  records_.clear();
}

void Raft::on_persisting(env::Lsn lsn) {
  for (auto each = held_.rbegin(); each != held_.rend() && !each->lsn; ++each) each->lsn = lsn;
}

void Raft::on_durable(env::Lsn upto, Instant now) {
  while (!held_.empty() && held_.front().lsn && *held_.front().lsn <= upto) {
    Held done = std::move(held_.front());
    held_.pop_front();
    if (done.send) sends_.push_back(std::move(*done.send));
    settle(done, now);
  }
}

void Raft::settle(const Held& done, Instant now) {
  if (done.hard) --hard_held_;
  if (done.own_vote > Term{} && done.own_vote == term_ && role_ == Role::kCandidate && !pre_) {
    votes_.insert(options_.self);
    count_votes(now);
  }
  if (done.durable > durable_) {
    durable_ = done.durable;
    if (leads()) advance_commit(now);
  }
}

// --- groups and configurations
// -----------------------------------------------------------------------------------------

void Raft::found(GroupId group, Instant now) {
  SEDGE_ASSERT(started_ && group_ == GroupId{} && group > GroupId{});
  SEDGE_ASSERT(order_.number == 0);  // of a fleet that had a group
  group_ = group;
  persist_hard();
  append_own(wire::LogKind::kConfiguration, wire::encode(Configuration{{options_.self}, {}}));
  election_at_ = now;  // nobody else can lead it
}

// A node of no group takes the first that it hears of; one that was ordered out of its group, the one it was ordered
// to.
Status Raft::adopt_group(GroupId group) {
  if (order_.number > 0 && group != order_.group) {
    return fail(Code::kFailedPrecondition,
                "a message of consensus group {:016x}, in whose place the root has put {:016x}", group.value,
                order_.group.value);
  }
  group_ = group;
  persist_hard();
  return {};
}

// The log of those who go on is the most that any of them has: it wins their first election, in which all vote. A node
// that is not among them may have entries that nobody else has, and they are over: it begins anew. Who follows the new
// group already, and hears of the order only now, has its log and keeps it.
void Raft::force(const wire::ForcedQuorum& order, Instant now) {
  SEDGE_ASSERT(started_);
  if (order.number <= order_.number) return;
  order_ = order;
  records_.push_back({kBucket, {static_cast<std::uint8_t>(kOrderKey)}, wire::encode(order_), false});
  if (group_ == order.group) return use_configuration();
  step_down(term_, NodeId{}, now);
  const bool goes_on = contains(order.voters, options_.self);
  if (!goes_on || group_ != order.former) forget_group();
  group_ = goes_on ? order.group : GroupId{};
  persist_hard();
  use_configuration();
  heard_ = now - options_.election_min;  // no leader counts on us any more
  asked_in_vain_ = 0;
  election_at_ = patience(now);
}

void Raft::forget_group() {
  erase_entries(log_.last());
  if (snapshot_) records_.push_back({kBucket, {static_cast<std::uint8_t>(kSnapshotKey)}, {}, true});
  snapshot_.reset();
  incoming_.reset();
  log_.reset(0, Term{});
  disk_first_ = 1;
  commit_ = applied_ = durable_ = 0;
  for (Held& each : held_) each.durable = 0;
  SEDGE_ASSERT(hooks_.restore(empty_));  // our own bytes
}

void Raft::use_configuration() {
  std::tie(configuration_, configuration_index_) = configuration_at(log_.last());
  if (group_ == order_.group && configuration_.forced < order_.number) {
    configuration_ = {order_.voters, {}, order_.number};
    configuration_index_ = kOrdered;
  }
  if (!leads()) return;
  std::erase_if(peers_, [&](const auto& peer) { return !is_part(configuration_, peer.first); });
  for (const auto& ids : {configuration_.voters, configuration_.learners}) {
    for (const NodeId id : ids) {
      if (id != options_.self) peers_.try_emplace(id, Progress{.next = log_.last() + 1});
    }
  }
  if (next_heartbeat_ == kNever && !peers_.empty()) next_heartbeat_ = Instant{};
}

// The last one up to `index`, and where it stands; the log is short (snapshot_every), so that it is looked for.
std::pair<Configuration, Index> Raft::configuration_at(Index index) const {
  for (Index at = index; at > log_.base(); --at) {
    if (log_.at(at).kind != wire::LogKind::kConfiguration) continue;
    auto decoded = wire::decode<Configuration>(log_.at(at).data);
    SEDGE_ASSERT(decoded);  // looked at before it was appended
    return {*std::move(decoded), at};
  }
  if (!snapshot_) return {};
  return {snapshot_->configuration, std::min(snapshot_->index, index)};
}

// --- elections
// ---------------------------------------------------------------------------------------------------------

// From election_min to twice that, so that two seldom ask at once; longer for who asks in vain, such as a node that was
// removed and does not know.
Instant Raft::patience(Instant now) {
  const Duration least = options_.election_min * (1 << std::min(asked_in_vain_, kPatienceDoublings));
  return now + least + Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(least.count()))));
}

// A voter; or one whose removal may not be committed: the others may need its log to go on (thesis, 4.2.2). Whoever the
// root has named has a log; if not, its disk is a new one, and the others may long be on their way without it.
bool Raft::may_lead() const {
  if (configuration_forced()) return is_voter(configuration_, options_.self) && log_.last() > 0;
  if (is_voter(configuration_, options_.self)) return true;
  return !configuration_settled() && is_voter(configuration_at(configuration_index_ - 1).first, options_.self);
}

bool Raft::hears_a_leader(Instant now) const { return leads() || now < heard_ + options_.election_min; }

void Raft::step_down(Term term, NodeId leader, Instant now) {
  if (term > term_) {
    term_ = term;
    vote_ = NodeId{};
    persist_hard();
  }
  if (role_ != Role::kFollower) election_at_ = patience(now);
  role_ = Role::kFollower;
  leader_ = leader;
  votes_.clear();
  peers_.clear();
  rounds_.clear();
  next_heartbeat_ = kNever;
  for (const Reading& each : reads_) read_results_.push_back({each.id, false});
  reads_.clear();
}

void Raft::ask_votes(bool pre, bool told, Instant now) {
  step_down(term_, NodeId{}, now);
  role_ = Role::kCandidate;
  pre_ = pre;
  if (pre) {
    votes_.insert(options_.self);
  } else {
    ++term_;
    vote_ = options_.self;
    persist_hard();
    held_.back().own_vote = term_;
  }
  if (pre) ++asked_in_vain_;
  election_at_ = patience(now);
  const wire::RaftVote vote{.group = group_,
                            .term = Term{term_.value + (pre ? 1 : 0)},
                            .last_index = {log_.last()},
                            .last_term = log_.last_term(),
                            .pre = pre,
                            .told = told};
  for (const NodeId id : configuration_.voters) {
    if (id != options_.self) say(id, wire::MessageType::kRaftVote, vote, true);
  }
  count_votes(now);
}

// The first leader of a forced quorum needs all: a majority could do without the one that has a committed entry.
std::size_t Raft::votes_needed() const {
  return configuration_forced() ? configuration_.voters.size() : majority(configuration_);
}

void Raft::count_votes(Instant now) {
  const auto for_us = std::ranges::count_if(votes_, [&](NodeId id) { return is_voter(configuration_, id); });
  if (static_cast<std::size_t>(for_us) < votes_needed()) return;
  if (pre_) return ask_votes(false, false, now);
  lead(now);
}

void Raft::lead(Instant now) {
  role_ = Role::kLeader;
  leader_ = options_.self;
  asked_in_vain_ = 0;
  votes_.clear();
  round_ = Round{};
  rounds_.clear();
  use_configuration();  // whom to send to
  for (auto& [id, peer] : peers_) peer.heard = now;
  append_own(wire::LogKind::kNothing, {});
  term_start_ = log_.last();
  if (configuration_forced()) append_own(wire::LogKind::kConfiguration, wire::encode(configuration_));
  heartbeat(now);
}

Status Raft::on_vote(NodeId from, const wire::RaftVote& vote, Instant now) {
  const bool recent =
      vote.last_term > log_.last_term() || (vote.last_term == log_.last_term() && vote.last_index.value >= log_.last());
  if (vote.pre) {
    const bool granted = vote.term > term_ && recent && !hears_a_leader(now);
    say(from, wire::MessageType::kRaftVoteReply,
        wire::RaftVoteReply{group_, granted ? vote.term : term_, true, granted}, true);
    return {};
  }
  if (!vote.told && hears_a_leader(now)) return {};  // the leader may be counting on it; and the asker will ask again
  if (vote.term > term_) step_down(vote.term, NodeId{}, now);
  const bool granted = vote.term == term_ && recent && role_ == Role::kFollower && (vote_.is_zero() || vote_ == from);
  if (granted) {
    if (vote_.is_zero()) {
      vote_ = from;
      persist_hard();
    }
    election_at_ = patience(now);
  }
  say(from, wire::MessageType::kRaftVoteReply, wire::RaftVoteReply{group_, term_, false, granted}, true);
  return {};
}

void Raft::on_vote_reply(NodeId from, const wire::RaftVoteReply& reply, Instant now) {
  if (!reply.granted) {
    if (reply.term > term_) step_down(reply.term, NodeId{}, now);
    return;
  }
  const Term asked{term_.value + (pre_ ? 1 : 0)};
  if (role_ != Role::kCandidate || reply.pre != pre_ || reply.term != asked) return;
  votes_.insert(from);
  count_votes(now);
}

// --- the world
// ---------------------------------------------------------------------------------------------------------

namespace {

// No honest counter comes so far; above it sums would wrap.
constexpr std::uint64_t kCountMax = std::uint64_t{1} << 62;

// Only of our group, or of any while we have none.
template <class Message, class Handler>
Status with(Bytes body, GroupId& of, Handler&& handle) {
  SEDGE_TRY(const Message message, wire::decode<Message>(body));
  if (message.term.value > kCountMax) return fail(Code::kDataLoss, "term {} is not one", message.term.value);
  if constexpr (requires { message.index; }) {
    if (message.index.value > kCountMax) return fail(Code::kDataLoss, "index {} is not one", message.index.value);
  }
  if (of == GroupId{} && message.group > GroupId{}) return handle(message);
  if (message.group != of) {
    return fail(Code::kFailedPrecondition, "a message of consensus group {:016x}, we are of {:016x}",
                message.group.value, of.value);
  }
  return handle(message);
}

}  // namespace

Status Raft::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  SEDGE_ASSERT(started_);
  using Type = wire::MessageType;
  if (group_ == GroupId{} && type != Type::kRaftAppend && type != Type::kRaftSnapshot) {
    return fail(Code::kFailedPrecondition, "this node is of no consensus group");
  }
  switch (type) {
    case Type::kRaftVote:
      return with<wire::RaftVote>(body, group_, [&](const auto& m) { return on_vote(from, m, now); });
    case Type::kRaftVoteReply:
      return with<wire::RaftVoteReply>(body, group_,
                                       [&](const auto& m) { return on_vote_reply(from, m, now), Status(); });
    case Type::kRaftAppend:
      return with<wire::RaftAppend>(body, group_, [&](const auto& m) { return on_append(from, m, now); });
    case Type::kRaftSnapshot:
      return with<wire::RaftSnapshot>(body, group_, [&](const auto& m) { return on_snapshot(from, m, now); });
    case Type::kRaftAppendReply:
      return with<wire::RaftAppendReply>(body, group_,
                                         [&](const auto& m) { return on_append_reply(from, m, now), Status(); });
    case Type::kRaftSnapshotReply:
      return with<wire::RaftSnapshotReply>(body, group_,
                                           [&](const auto& m) { return on_snapshot_reply(from, m, now), Status(); });
    default:
      return fail(Code::kUnimplemented, "consensus message type {} is of a newer version", static_cast<int>(type));
  }
}

// A link that comes up ends the doubling of patience, and what was sent on an earlier one may be lost.
void Raft::on_link_up(NodeId peer, Instant now) {
  if (!is_part(configuration_, peer)) return;
  if (const auto found = peers_.find(peer); leads() && found != peers_.end()) {
    Progress& progress = found->second;
    progress.flight.clear();
    progress.next = progress.match + 1;
    progress.probing = true;
    send_heartbeat(peer, progress, now);
    return;
  }
  if (std::exchange(asked_in_vain_, 0) > 0) election_at_ = std::min(election_at_, patience(now));
}

void Raft::on_timer(Instant now) {
  if (leads() && now >= next_heartbeat_) {
    if (voters_heard(now) < majority(configuration_))
      step_down(term_, NodeId{}, now);
    else
      heartbeat(now);
  }
  if (!leads() && now >= election_at_) {
    if (may_lead())
      ask_votes(true, false, now);
    else
      election_at_ = patience(now);
  }
}

Instant Raft::next_deadline() const {
  if (group_ == GroupId{}) return kNever;
  if (leads()) return next_heartbeat_;
  return may_lead() ? election_at_ : kNever;
}

}  // namespace sedge::consensus
