// StateSync's anti-entropy: who is asked, what is answered. See state_sync.h for the idea.
#include <algorithm>

#include "mesh/state_rows.h"
#include "mesh/state_sync.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using crdt::Dot;

constexpr std::size_t kRangesAnswered = 4096;      // 24 bytes each on the wire: under 100 KB of a frame
constexpr std::size_t kRowsBytesMax = 768u << 10;  // of a frame of 1 MiB; rows left out cost being sent twice
constexpr std::size_t kPassedMax = 65'536;  // refused in one pull, 40 bytes each; then the neighbour loses its turn
constexpr std::uint64_t kLivelyRounds = 4;  // a neighbour, in which each hears what changed, nearly surely
constexpr std::uint64_t kQuietRounds = 4;   // one in so many tells of itself where nothing does
constexpr int kDryPulls = 2;                // until vectors are given up on
// A session that taught nothing: a side refuses what the other holds, or writes were on their way. The next one waits.
constexpr Duration kSessionPauseMin = 2s;
constexpr Duration kSessionPauseMax = 16s;
constexpr int kSessionTurns = 16;            // messages that a neighbour may have a session last for; it needs 7
constexpr std::uint64_t kSessionAgain = 64;  // one that brought so many writes was cut short by its bounds
constexpr std::uint64_t kStampMsMax = ~std::uint64_t{0} >> 16;  // what a stamp can hold

// Ops of one answer, until it is full.
struct Chunk {
  std::size_t bytes_max;
  wire::StateOps message{};
  std::size_t bytes = 0;

  bool add(const crdt::OpView& op) {
    Buffer encoded = crdt::encode_op(op);
    if (!message.ops.empty() && bytes + encoded.size() > bytes_max) {
      message.part = wire::OpsPart::kMore;
      return false;
    }
    bytes += encoded.size();
    message.ops.push_back(std::move(encoded));
    origins.insert(op.dot.origin);
    return true;
  }
  std::set<NodeId> origins{};
};

}  // namespace

wire::StateDigest StateSync::wire_digest(NodeId to) const {
  const auto told = frontiers_.find(to);
  const std::uint64_t at_ms = std::max(frontier_ms_, told == frontiers_.end() ? 0 : told->second);
  const crdt::Digest digest = digest_at(at_ms);
  return {digest[0], digest[1], at_ms, frontier_ms_};
}

// Who leaves out less than we have collected cannot be compared with: it is told our frontier and asks again.
bool StateSync::same(const wire::StateDigest& theirs) const {
  const crdt::Digest digest = digest_at(std::min(theirs.at_ms, kStampMsMax));
  return theirs.at_ms < frontier_ms_ || digest == crdt::Digest{theirs.low, theirs.high};
}

Status StateSync::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  now_ = now;
  switch (type) {
    case wire::MessageType::kStateVector: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateVector>(body));
      return on_vector(from, message);
    }
    case wire::MessageType::kStateOps: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateOps>(body));
      return on_ops(from, message);
    }
    case wire::MessageType::kStatePacked: {
      SEDGE_TRY(const Buffer plain, unpack(body, env::kFrameBytesMax));
      SEDGE_TRY(const auto message, wire::decode<wire::StateOps>(plain));
      return on_ops(from, message);
    }
    case wire::MessageType::kStateSketch:
    case wire::MessageType::kStateRanges:
    case wire::MessageType::kStateWant:
      return on_session(from, type, body);
    case wire::MessageType::kStateStale: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateStale>(body));
      return on_stale(from, message);
    }
    case wire::MessageType::kStateGone: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateGone>(body));
      return on_gone(from, message);
    }
    default:
      return fail(Code::kInvalidArgument, "message type {} is not about state", static_cast<int>(type));
  }
}

void StateSync::on_link_up(NodeId peer, Instant now) {
  now_ = now;
  const auto at = std::ranges::lower_bound(peers_, peer);
  if (at == peers_.end() || *at != peer) peers_.insert(at, peer);
  send_brief(peer);
}

void StateSync::on_link_down(NodeId peer, Instant now) {
  now_ = now;
  std::erase(peers_, peer);
  std::erase(wanted_, peer);
  dry_.erase(peer);
  reconciler_.forget(peer);
  clock_.forget(peer);
  if (pull_ && pull_->peer == peer) pull_.reset();
  next_pull();
}

void StateSync::on_clock_sample(NodeId peer, const crdt::FleetClock::Exact& reading, Instant now) {
  now_ = now;
  if (!linked(peer)) return;
  const std::uint64_t before_ms = clock_.ms(now);
  clock_.sample(peer, reading, now);
  on_clock(before_ms);
}

// Who gets its clock back may see that what it erased without one is old.
void StateSync::on_clock(std::uint64_t before_ms) {
  leaps_.note(before_ms, clock_.ms(now_));
  const auto leap_ms = static_cast<std::uint64_t>(options_.collect_after / 8 / 1ms);
  if (clock_.ms(now_) > before_ms + leap_ms) hold_tombstones();
  release_quarantine();
}

void StateSync::on_timer(Instant now) {
  now_ = now;
  flush_ = flush_ || now >= lazy_due_;
  if (pull_ && now >= pull_->until) {
    if (pull_->session) note_dry(pull_->peer, true);
    pull_.reset();
    next_pull();
  }
  if (now >= round_due_) on_round();
  if (now >= statement_due_) on_statement_due();
  if (now >= sweep_due_) sweep();
}

Instant StateSync::next_deadline() const {
  const bool rounds = !peers_.empty() || !quarantine_.empty();
  return std::min({lazy_due_, pull_ ? pull_->until : kNever, rounds ? round_due_ : kNever, statement_due_, sweep_due_});
}

void StateSync::on_round() {
  const auto quarter = options_.round.count() / 4;
  const auto jitter = static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(2 * quarter) + 1));
  round_due_ = now_ + options_.round + Duration(jitter - quarter);
  release_quarantine();
  reconciler_.on_round(now_);
  advance();
  reset_step();
  if (brief_is_due() && !peers_.empty()) send_brief(peers_[prng_.below(peers_.size())]);
  if (++rounds_ % kSpotCheckRounds != 0 || peers_.empty()) return;
  ++stats_.spot_checks;
  open_session(peers_[rounds_ / kSpotCheckRounds % peers_.size()], 1);
}

// Who has what it had, and has told its neighbours, is heard rarer: who lacks something tells us of itself.
bool StateSync::brief_is_due() {
  const crdt::Digest ours = digest();
  const bool alike = std::exchange(told_digest_, ours) == ours;
  rounds_alike_ = alike ? rounds_alike_ + 1 : 0;
  return rounds_alike_ < kLivelyRounds * peers_.size() || rounds_alike_ % kQuietRounds == 0;
}

void StateSync::send_brief(NodeId peer) {
  const wire::StateVector brief{wire_digest(peer), clock_.ms(now_), clock_.settled(now_), false, {}};
  sends_.push_back({peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateVector, brief)});
}

// ---- asking ---------------------------------------------------------------------------------------------------------

Status StateSync::on_vector(NodeId from, const wire::StateVector& message) {
  if (!linked(from)) return {};  // its link fell meanwhile
  const std::uint64_t before_ms = clock_.ms(now_);
  clock_.hear(from, message.clock_ms, message.settled, now_);
  on_clock(before_ms);
  frontiers_[from] = std::min(message.digest.frontier_ms, kStampMsMax);
  if (message.digest.at_ms < frontier_ms_) send_brief(from);
  if (message.pull) {
    SEDGE_TRY(const crdt::VersionVector theirs, vector_from_wire(message.rows));
    answer_pull(from, theirs);
  }
  if (!same(message.digest)) {
    rounds_alike_ = 0;
    want(from);
  } else {
    exchanged_ = true;
    dry_.erase(from);
  }
  return {};
}

bool StateSync::linked(NodeId peer) const { return std::ranges::binary_search(peers_, peer); }

void StateSync::want(NodeId peer) {
  const bool asking = pull_ && pull_->peer == peer;
  if (!linked(peer) || asking || std::ranges::find(wanted_, peer) != wanted_.end()) return;
  wanted_.push_back(peer);
  next_pull();
}

void StateSync::next_pull() {
  if (pull_ || wanted_.empty()) return;
  pull_.emplace();
  pull_->peer = wanted_.front();
  wanted_.erase(wanted_.begin());
  const auto dry = dry_.find(pull_->peer);
  pull_->session = dry != dry_.end() && dry->second.pulls >= kDryPulls && now_ >= dry->second.session_from;
  ask();
}

void StateSync::ask() {
  pull_->until = now_ + options_.pull_timeout;
  pull_->merged = stats_.of(Verdict::kMerged);
  pull_->turns = 0;
  if (pull_->session) {
    ++stats_.sessions;
    open_session(pull_->peer, crdt::kSketchSteps[0]);
  } else {
    ++stats_.pulls;
    ask_with_vector();
  }
}

void StateSync::ask_with_vector() {
  crdt::VersionVector known = known_;
  for (const Dot& dot : pull_->passed) known.add(dot);
  wire::StateVector vector{wire_digest(pull_->peer), clock_.ms(now_), clock_.settled(now_), true, {}};
  std::size_t bytes = 0;
  for (const auto& [origin, row] : known.rows()) {
    vector.rows.push_back(mesh::to_wire(origin, row));
    bytes += wire::encode(vector.rows.back()).size();
    if (bytes <= kRowsBytesMax) continue;
    vector.rows.pop_back();
    break;
  }
  sends_.push_back({pull_->peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateVector, vector)});
}

Status StateSync::on_ops(NodeId from, const wire::StateOps& message) {
  const bool of_session = message.part >= wire::OpsPart::kSessionLast;
  // Ops of a session that the peer opened are no answer to ours.
  Pull* const pull = pull_ && pull_->peer == from && pull_->session == of_session ? &*pull_ : nullptr;
  const std::size_t passed = pull ? pull->passed.size() : 0;
  const std::uint64_t merged = stats_.of(Verdict::kMerged);
  frontiers_[from] = std::min(message.digest.frontier_ms, kStampMsMax);
  const Status taken = take_ops(message, pull, message.digest.frontier_ms);
  if (!pull) return taken;
  if (pull->session) {
    if (message.part == wire::OpsPart::kSessionLast) finish_pull(message.digest);
    return taken;
  }
  bool progress = stats_.of(Verdict::kMerged) > merged || pull->passed.size() > passed;
  for (const wire::StateCover& range : message.covers) progress |= cover(range, pull->passed);
  if (message.part == wire::OpsPart::kMore && progress && taken && pull->passed.size() < kPassedMax) {
    ask();
  } else {
    finish_pull(message.digest);
  }
  return taken;
}

bool StateSync::cover(const wire::StateCover& range, const std::set<Dot>& except) {
  std::uint64_t first = range.span.first.value;
  const std::uint64_t last = range.span.last.value;
  bool news = false;
  const auto part = [&](std::uint64_t to) {
    if (first <= to) news |= known_.cover({range.origin, range.epoch, {first}, {to}});
  };
  for (auto at = except.lower_bound({range.origin, range.epoch, {first}}); at != except.end(); ++at) {
    if (at->origin != range.origin || at->epoch != range.epoch || at->sequence.value > last) break;
    part(at->sequence.value - 1);
    first = at->sequence.value + 1;
  }
  part(last);
  if (news) dirty_rows_.insert(range.origin);
  return news;
}

void StateSync::finish_pull(const std::optional<wire::StateDigest>& theirs) {
  Pull& pull = *pull_;
  const bool equal = theirs && same(*theirs);
  const bool cut_short = pull.session && stats_.of(Verdict::kMerged) - pull.merged >= kSessionAgain;
  if (!equal && cut_short && pull.passed.size() < kPassedMax) return ask();
  exchanged_ = true;
  if (equal || pull.news) {
    dry_.erase(pull.peer);
  } else {
    note_dry(pull.peer, pull.session);
  }
  pull_.reset();
  next_pull();
}

void StateSync::note_dry(NodeId peer, bool session) {
  Dry& dry = dry_[peer];
  if (!session) {
    ++dry.pulls;
    return;
  }
  dry.pulls = 1;
  dry.pause = std::clamp(2 * dry.pause, kSessionPauseMin, kSessionPauseMax);
  dry.session_from = now_ + dry.pause;
}

// ---- answering ------------------------------------------------------------------------------------------------------

void StateSync::answer_pull(NodeId peer, const crdt::VersionVector& theirs) {
  const std::vector<crdt::DotRange> missing = known_.minus(theirs, kRangesAnswered);
  Chunk chunk{options_.chunk_bytes};
  for (const crdt::DotRange& range : missing) {
    const Dot last{range.origin, range.epoch, range.last};
    std::uint64_t done = range.last.value;
    const crdt::Living living = replica_.living();
    for (auto at = living.lower_bound({range.origin, range.epoch, range.first});
         at != living.end() && at->first <= last; ++at) {
      if (chunk.add(at->second)) continue;
      done = at->first.sequence.value - 1;
      break;
    }
    if (done >= range.first.value) {
      chunk.message.covers.push_back({range.origin, range.epoch, {range.first, {done}}});
    }
    if (chunk.message.part == wire::OpsPart::kMore) break;
  }
  if (missing.size() == kRangesAnswered) chunk.message.part = wire::OpsPart::kMore;
  for (const auto& [origin, row] : theirs.rows()) chunk.origins.erase(origin);
  answer(peer, std::move(chunk.message), chunk.origins);
}

void StateSync::answer(NodeId peer, wire::StateOps message, const std::set<NodeId>& new_origins) {
  for (const NodeId origin : new_origins) {
    const Bytes chain = directory_.chain_of(origin);
    if (!chain.empty()) message.chains.push_back(to_buffer(chain));
  }
  message.digest = wire_digest(peer);
  stats_.ops_sent += message.ops.size();
  Buffer frame = wire::frame(wire::MessageType::kStateOps, message);
  if (hooks.packs && hooks.packs(peer)) {
    if (const auto packed = packer_.pack(Bytes(frame).subspan(1))) {
      frame = {static_cast<std::uint8_t>(wire::MessageType::kStatePacked)};
      frame.insert(frame.end(), packed->begin(), packed->end());
    }
  }
  sends_.push_back({peer, env::Priority::kState, false, std::move(frame)});
}

// ---- sessions -------------------------------------------------------------------------------------------------------

void StateSync::open_session(NodeId peer, std::size_t symbols) {
  const wire::StateSketch sketch = reconciler_.open(peer, symbols, now_);
  sends_.push_back({peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateSketch, sketch)});
}

Status StateSync::on_session(NodeId from, wire::MessageType type, Bytes body) {
  if (!linked(from)) return {};
  SEDGE_TRY(const crdt::SessionAnswer found, reconciler_.on_message(from, type, body, now_));
  answer_session(from, found);
  if (!pull_ || pull_->peer != from || !pull_->session) return {};
  if (++pull_->turns <= kSessionTurns) pull_->until = now_ + options_.pull_timeout;
  if (type != wire::MessageType::kStateRanges || found.asks()) return {};
  // Ranges that we could settle alone: nothing more comes.
  finish_pull(found.send.empty() ? std::optional(wire_digest(from)) : std::nullopt);
  return {};
}

// Ops come last: what comes before them must be known to whoever holds the session open.
void StateSync::answer_session(NodeId peer, const crdt::SessionAnswer& found) {
  const auto send = [&](wire::MessageType type, const auto& message) {
    if (message) sends_.push_back({peer, env::Priority::kState, false, wire::frame(type, *message)});
  };
  send(wire::MessageType::kStateSketch, found.sketch);
  send(wire::MessageType::kStateRanges, found.ranges);
  send(wire::MessageType::kStateWant, found.want);
  const bool goes_on = found.sketch || found.ranges || (found.want && found.want->symbols > 0);
  if (found.send.empty() && goes_on) return;
  Chunk chunk{options_.chunk_bytes};
  for (const Dot& dot : found.send) {
    const auto at = replica_.living().find(dot);  // it may have been replaced since the set was made
    if (at != replica_.living().end() && !chunk.add(at->second)) break;
  }
  chunk.message.part = goes_on ? wire::OpsPart::kSessionGoesOn : wire::OpsPart::kSessionLast;
  answer(peer, std::move(chunk.message), {});
}

}  // namespace sedge::mesh
