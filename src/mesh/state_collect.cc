// StateSync's collection of tombstones: what this node states, when its frontier moves, and what becomes of a node that
// was away while others' did. See state_sync.h, state_seen.h and state_reset.h for the ideas.
//
// Two numbers are durable: the frontier, and the pace, up to which this node knows that it has kept up. A node whose
// pace is behind a frontier that others have reached was away: it neither states nor collects anything until it is
// reset, for it could not tell what it still has from what is over. A frontier counts only where it can be:
// acknowledged by all others' signed statements, or older than a day.
#include <algorithm>

#include "mesh/state_rows.h"
#include "mesh/state_sync.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using crdt::Dot;
using crdt::Hlc;

constexpr std::string_view kFrontierKey = "frontier";
constexpr std::size_t kSweptAtOnce = 1024;  // erased in one call; the digest leaves the others out already
constexpr Duration kSweepPause = 20ms;
constexpr int kHoledMax = 5;  // tries to fill holes; then a statement goes out that says no more than the one before
constexpr std::size_t kWitnesses = 2;

std::uint64_t ms_of(Duration time) { return static_cast<std::uint64_t>(time / 1ms); }
std::uint64_t less(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

Status StateSync::load_frontier(Bytes value) {
  SEDGE_TRY(const auto record, wire::decode<wire::StateFrontier>(value));
  frontier_ms_ = record.frontier_ms;
  pace_ms_ = record.pace_ms;
  hybrid_.observe(Hlc::at_ms(frontier_ms_));  // the tombstones that were stamped last may be gone
  return {};
}

// ---- statements -----------------------------------------------------------------------------------------------------

void StateSync::plan_statement(Duration least, Duration most) {
  const auto span = static_cast<std::uint64_t>((most - least).count());
  statement_due_ = now_ + least + Duration(static_cast<std::int64_t>(prng_.below(span + 1)));
}

// Once a period, each at its own time: a thousand members' statements come one after the other. The first one comes
// sooner: until then nobody waits for this node.
void StateSync::on_statement_due() {
  const Duration every = seen_.stated(options_.self) ? options_.collect_every : options_.collect_every / 8;
  plan_statement(every * 7 / 8, every * 9 / 8);
  const bool holes = known_.has_holes();
  if (holes) fill_holes();
  if (!held_.empty()) sweep();
  if (!must_state()) return;
  if (somebody_is_ahead()) return plan_statement(options_.round, 2 * options_.round);
  if (holes && holed_ < kHoledMax && !peers_.empty()) {
    ++holed_;
    plan_statement(options_.round, 2 * options_.round);
    return;
  }
  holed_ = 0;
  state_seen();
}

// A write that was lost on its way and ended before it was found leaves a hole that no difference of digests tells of.
void StateSync::fill_holes() {
  if (!peers_.empty()) want(peers_[prng_.below(peers_.size())]);
}

// One who has collected further than we kept pace is no witness, but may be the first of many that do so at about the
// same time: what it collected we may have missed, though it says that nothing is missing. Until the others have had
// their turns we do not state that we kept pace; a liar keeps us for as long.
bool StateSync::somebody_is_ahead() {
  const std::uint64_t stated_ms = std::min(seen_.frontier_ms(1), frontier_that_can_be());
  const bool ahead = stated_ms > std::max(pace_ms_, frontier_ms_) ||
                     std::ranges::any_of(peers_, [this](NodeId peer) { return behind(peer); });
  if (!ahead) return ahead_since_.reset(), false;
  if (!ahead_since_) ahead_since_ = now_;
  return now_ - *ahead_since_ < 2 * options_.collect_every;
}

bool StateSync::must_state() const {
  if (was_away()) return false;  // a reset comes first
  if (seen_.stated(options_.self)) {
    return !held_.empty() || replica_.has_tombstone(Hlc::at_ms(frontier_ms_), {~std::uint64_t{0}});
  }
  // From the first entry on a member is waited for. Who is new must know whom to wait for.
  return replica_.holds_entries() && (peers_.empty() || exchanged_);
}

void StateSync::state_seen() {
  const std::uint64_t now_ms = clock_.ms(now_);
  wire::StateSeen statement{0, frontier_ms_, former_lives(known_.row(options_.self), options_.epoch)};
  const std::string path = seen_path(options_.self);
  if (const auto before = replica_.register_at(path); before && before->value) {
    if (const auto told = wire::decode<wire::StateSeen>(*before->value)) statement.seen_ms = told->seen_ms;
  }
  statement.seen_ms = std::max(statement.seen_ms, seen_.seen_ms(known_, enrolled(), now_ms).value_or(0));
  const std::uint64_t in_touch = seen_.in_touch_ms(known_, enrolled(), now_ms, options_.collect_after / 2).value_or(0);
  const std::uint64_t pace = std::max({pace_ms_, statement.seen_ms, in_touch});
  // Refused, it is told a period later.
  if (!write(crdt::OpKind::kRegister, path, wire::encode(statement), 0, now_)) return;
  pace_ms_ = pace;
  keep_frontier(frontier_ms_);  // with the statement: the disk has both, or neither
}

void StateSync::keep_frontier(std::uint64_t frontier_ms) {
  const wire::StateFrontier record{std::max(frontier_ms, adopting_ ? adopting_->frontier_ms : 0), pace_ms_};
  lazy({std::string(kStateFrontierBucket), to_buffer(as_bytes(kFrontierKey)), wire::encode(record), false});
}

// ---- the frontier ---------------------------------------------------------------------------------------------------

void StateSync::advance() {
  if (adopting_) return;
  const std::uint64_t every_ms = std::max<std::uint64_t>(1, ms_of(options_.collect_every));
  const auto multiple = [&](std::uint64_t ms) { return ms - ms % every_ms; };
  std::uint64_t upto = 0;
  if (seen_.stated(options_.self)) upto = multiple(std::min(pace_ms_, seen_.acknowledged_ms(true)));
  if (clock_.settled(now_)) {
    const std::uint64_t old = multiple(std::min(pace_ms_, less(clock_.ms(now_), ms_of(options_.collect_after))));
    if (replica_.has_tombstone(Hlc::at_ms(frontier_ms_), Hlc::at_ms(old))) upto = std::max(upto, old);
  }
  if (upto > frontier_ms_) adopt(upto);
}

void StateSync::adopt(std::uint64_t frontier_ms) {
  adopting_ = Adopting{frontier_ms, false, std::nullopt};
  keep_frontier(frontier_ms);
  flush_ = true;
}

void StateSync::on_adopted() {
  frontier_ms_ = adopting_->frontier_ms;
  adopting_.reset();
  sweep_due_ = now_;
}

void StateSync::sweep() {
  const std::uint64_t old_ms = less(clock_.ms(now_), ms_of(options_.collect_after));
  const std::uint64_t upto_ms = std::max(frontier_ms_, old_ms);
  std::erase_if(held_,
                [&](const auto& held) { return held.second < upto_ms || !replica_.living().contains(held.first); });
  const auto keep = [&](const Dot& dot) { return held_.contains(dot); };
  const std::vector<Dot> over = replica_.collectable(Hlc::at_ms(frontier_ms_), kSweptAtOnce, keep);
  for (const Dot& dot : over) {
    replica_.withdraw(dot);
    erase(dot);
  }
  stats_.collected += over.size();
  sweep_due_ = over.size() == kSweptAtOnce ? now_ + kSweepPause : kNever;
}

// A tombstone that comes with an older stamp than this may not have reached others before they collect: what is past
// the frontier, and what soon will be a day old by its stamp. A node that was off has no clock and stamps on from where
// it was, so that what it erases now may have the stamp of yesterday.
std::uint64_t StateSync::late_ms() const {
  const std::uint64_t frontier = std::max(frontier_ms_, adopting_ ? adopting_->frontier_ms : 0);
  return std::max(frontier, less(clock_.ms(now_), ms_of(options_.collect_after / 2)));
}

// They go when the frontier is where the clock is now, or a day later.
void StateSync::hold_tombstones() {
  const auto all = [](const Dot&) { return false; };
  const std::uint64_t now_ms = clock_.ms(now_);
  for (const Dot& dot : replica_.collectable(Hlc::at_ms(late_ms()), replica_.tombstones(), all)) held_[dot] = now_ms;
}

// ---- a node that was away -------------------------------------------------------------------------------------------

std::size_t StateSync::witnesses_needed() const {
  const std::size_t others = seen_.others();
  return others >= kWitnesses ? kWitnesses : std::clamp<std::size_t>(std::max(others, enrolled()), 1, kWitnesses);
}

// The furthest that an honest node can have collected, by what is signed and by the clock.
std::uint64_t StateSync::frontier_that_can_be() const {
  return std::max(seen_.acknowledged_ms(false), less(clock_.ms(now_), ms_of(options_.collect_after)));
}

bool StateSync::behind(NodeId peer) const {
  const auto told = frontiers_.find(peer);
  if (told == frontiers_.end()) return false;
  return std::min(told->second, frontier_that_can_be()) > std::max(pace_ms_, frontier_ms_);
}

// By the neighbours, as many of them as a reset takes, or by what others have signed. One that lies is not enough.
bool StateSync::was_away() const {
  const auto ahead = static_cast<std::size_t>(std::ranges::count_if(peers_, [&](NodeId peer) { return behind(peer); }));
  const auto stated = [&](std::size_t witnesses) {
    return std::min(seen_.frontier_ms(witnesses), frontier_that_can_be()) > std::max(pace_ms_, frontier_ms_);
  };
  if (ahead == 0 && !stated(1)) return false;
  const std::size_t needed = witnesses_needed();
  return (ahead > 0 && ahead >= std::min(needed, peers_.size())) || stated(needed);
}

void StateSync::reset_step() {
  if (!exchanged_ || adopting_ || (reset_asks_ && now_ < reset_until_)) return;
  reset_asks_.reset();
  if (!reset_) {
    if (!was_away()) return;
    reset_.emplace(now_);
  }
  if (ask_what_is_over()) return;
  const bool alone_with_it = peers_.size() == 1 && now_ - reset_->since() >= options_.collect_every;
  const std::size_t needed = alone_with_it ? 1 : witnesses_needed();
  if (reset_->heard() < needed) return;
  // Who is not as far yet may say it in a while.
  const bool heard_all = std::ranges::all_of(peers_, [this](NodeId peer) { return reset_->heard(peer); });
  const bool patience = !heard_all && now_ - reset_->since() < options_.collect_every;
  if (!patience || !reset_->undecided(needed)) finish_reset(needed);
}

// Whoever comes after the one asked last: one that does not answer holds up nobody.
bool StateSync::ask_what_is_over() {
  const std::size_t needed = witnesses_needed();
  if (reset_->heard() >= needed && !reset_->undecided(needed)) return false;
  std::vector<NodeId> order = peers_;
  std::ranges::rotate(order, std::ranges::upper_bound(order, reset_asked_));
  for (const NodeId peer : order) {
    if (!behind(peer) || reset_->heard(peer)) continue;
    const auto page = reset_->page(peer, replica_, std::min(frontiers_.at(peer), frontier_that_can_be()), needed);
    if (!page) continue;  // it has answered for all
    reset_asks_ = reset_asked_ = peer;
    reset_until_ = now_ + options_.pull_timeout;
    sends_.push_back({peer, env::Priority::kState, false,
                      wire::frame(wire::MessageType::kStateStale, wire::StateStale{dots_to_wire(*page)})});
    return true;
  }
  return false;
}

void StateSync::finish_reset(std::size_t witnesses) {
  const std::uint64_t frontier_ms = std::min(reset_->frontier_ms(), frontier_that_can_be());
  std::size_t dropped = 0;
  for (const Dot& dot : reset_->over(witnesses)) {
    const auto at = replica_.living().find(dot);
    if (at == replica_.living().end()) continue;
    const std::string path(at->second.path);
    replica_.withdraw(dot);
    erase(dot);
    ++dropped;
    on_changed(path, dot.origin);
  }
  reset_.reset();
  stats_.reset += dropped;
  pace_ms_ = std::max(pace_ms_, frontier_ms);
  if (frontier_ms > frontier_ms_) adopt(frontier_ms);
  hold_tombstones();
  plan_statement(options_.round, 2 * options_.round);
  if (dropped > 0 && hooks.report) {
    hooks.report(
        fmt::format("this node was away while others erased {} entries: they are gone here too; what it wrote "
                    "itself meanwhile stays",
                    dropped));
  }
}

Status StateSync::on_stale(NodeId from, const wire::StateStale& message) {
  SEDGE_TRY(const DotSet asked, dots_from_wire(message.living));
  SEDGE_TRY(const std::vector<Dot> dots, dots_of(asked, wire::kStaleDotsMax));
  DotSet gone;
  DotSet unseen;
  for (const Dot& dot : dots) {
    if (replica_.living().contains(dot)) continue;
    DotSet& set = known_.contains(dot) ? gone : unseen;
    set[{dot.origin, dot.epoch}].add(dot.sequence.value, dot.sequence.value);
  }
  const wire::StateGone answer{frontier_ms_, dots_to_wire(gone), dots_to_wire(unseen)};
  sends_.push_back({from, env::Priority::kState, false, wire::frame(wire::MessageType::kStateGone, answer)});
  return {};
}

Status StateSync::on_gone(NodeId from, const wire::StateGone& message) {
  if (!reset_ || reset_asks_ != from) return {};  // too late
  SEDGE_TRY(const DotSet gone, dots_from_wire(message.gone));
  SEDGE_TRY(const DotSet unseen, dots_from_wire(message.unseen));
  reset_until_ = now_;
  SEDGE_CHECK(reset_->answer(from, gone, unseen, message.frontier_ms));
  reset_step();
  return {};
}

}  // namespace sedge::mesh
