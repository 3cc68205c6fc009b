// StateSync's anti-entropy: who is asked, what is answered. See state_sync.h for the idea.
#include <algorithm>

#include "mesh/state_rows.h"
#include "mesh/state_sync.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using crdt::Dot;
using crdt::Op;

constexpr std::size_t kRangesAnswered = 4096;      // 24 bytes each on the wire: under 100 KB of a frame
constexpr std::size_t kDotsListed = 16'384;        // a request with as many ranges stays under 400 KB
constexpr std::size_t kRowsBytesMax = 768u << 10;  // of a frame of 1 MiB; rows left out cost being sent twice
constexpr std::size_t kPassedMax = 65'536;  // refused in one pull, 40 bytes each; then the neighbour loses its turn
constexpr int kDryPulls = 2;                // until vectors are given up on

Dot last_dot() {
  Dot dot;
  dot.origin.bytes.fill(0xff);
  dot.epoch.value = dot.sequence.value = ~std::uint64_t{0};
  return dot;
}

Dot from_wire(const wire::StateDot& dot) { return {dot.origin, dot.epoch, dot.sequence}; }
wire::StateDot to_wire(const Dot& dot) { return {dot.origin, dot.epoch, dot.sequence}; }

// Ops of one answer, until it is full.
struct Chunk {
  std::size_t bytes_max;
  wire::StateOps message{};
  std::size_t bytes = 0;

  bool add(const Op& op) {
    Buffer encoded = crdt::encode_op(op);
    if (!message.ops.empty() && bytes + encoded.size() > bytes_max) {
      message.more = true;
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

wire::StateDigest StateSync::wire_digest() const { return {replica_.digest()[0], replica_.digest()[1]}; }

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
    case wire::MessageType::kStateRequest: {
      SEDGE_TRY(const auto message, wire::decode<wire::StateRequest>(body));
      return on_request(from, message);
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
  clock_.forget(peer);
  if (pull_ && pull_->peer == peer) pull_.reset();
  next_pull();
}

void StateSync::on_clock_sample(NodeId peer, std::uint64_t their_fleet_ms, bool settled, Instant now) {
  now_ = now;
  if (!linked(peer)) return;
  clock_.sample(peer, {their_fleet_ms, settled, true}, now);
  release_quarantine();
}

void StateSync::on_timer(Instant now) {
  now_ = now;
  flush_ = flush_ || now >= lazy_due_;
  if (pull_ && now >= pull_->until) {
    pull_.reset();
    next_pull();
  }
  if (now >= round_due_) on_round();
}

Instant StateSync::next_deadline() const {
  const bool rounds = !peers_.empty() || !quarantine_.empty();
  return std::min({lazy_due_, pull_ ? pull_->until : kNever, rounds ? round_due_ : kNever});
}

void StateSync::on_round() {
  const auto quarter = options_.round.count() / 4;
  const auto jitter = static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(2 * quarter) + 1));
  round_due_ = now_ + options_.round + Duration(jitter - quarter);
  release_quarantine();
  if (!peers_.empty()) send_brief(peers_[prng_.below(peers_.size())]);
}

void StateSync::send_brief(NodeId peer) {
  const wire::StateVector brief{wire_digest(), clock_.ms(now_), clock_.settled(now_), false, {}};
  sends_.push_back({peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateVector, brief)});
}

// ---- asking ---------------------------------------------------------------------------------------------------------

Status StateSync::on_vector(NodeId from, const wire::StateVector& message) {
  if (!linked(from)) return {};  // its link fell meanwhile
  clock_.sample(from, {message.clock_ms, message.settled, false}, now_);
  release_quarantine();
  if (message.pull) {
    SEDGE_TRY(const crdt::VersionVector theirs, vector_from_wire(message.rows));
    answer_pull(from, theirs);
  }
  if (message.digest != wire_digest()) {
    want(from);
  } else {
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
  pull_->listing = dry != dry_.end() && dry->second >= kDryPulls;
  ask();
}

void StateSync::ask() {
  pull_->until = now_ + options_.pull_timeout;
  if (pull_->listing) {
    ++stats_.requests;
    ask_with_living();
  } else {
    ++stats_.pulls;
    ask_with_vector();
  }
}

void StateSync::ask_with_vector() {
  crdt::VersionVector known = known_;
  for (const Dot& dot : pull_->passed) known.add(dot);
  wire::StateVector vector{wire_digest(), clock_.ms(now_), clock_.settled(now_), true, {}};
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

// Lists what lives here from where the last request ended, as far as one message carries it.
void StateSync::ask_with_living() {
  DotSet dots;
  pull_->listed_last = last_dot();
  std::size_t listed = 0;
  const auto& living = replica_.living();
  for (auto at = living.lower_bound(listed_upto_); at != living.end(); ++at) {
    dots[{at->first.origin, at->first.epoch}].add(at->first.sequence.value, at->first.sequence.value);
    if (++listed < kDotsListed) continue;
    pull_->listed_last = at->first;
    break;
  }
  for (const Dot& dot : pull_->passed) dots[{dot.origin, dot.epoch}].add(dot.sequence.value, dot.sequence.value);
  const wire::StateRequest request{to_wire(listed_upto_), to_wire(pull_->listed_last), dots_to_wire(dots)};
  sends_.push_back({pull_->peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateRequest, request)});
}

Status StateSync::on_ops(NodeId from, const wire::StateOps& message) {
  Pull* const pull = pull_ && pull_->peer == from ? &*pull_ : nullptr;
  const std::size_t passed = pull ? pull->passed.size() : 0;
  const std::uint64_t merged = stats_.of(Verdict::kMerged);
  const Status taken = take_ops(message, pull);
  if (!pull) return taken;
  bool progress = stats_.of(Verdict::kMerged) > merged || pull->passed.size() > passed;
  for (const wire::StateCover& range : message.covers) progress |= cover(range, pull->passed);
  if (message.more && progress && taken && pull->passed.size() < kPassedMax) {
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

void StateSync::finish_pull(const wire::StateDigest& theirs) {
  const Pull pull = std::move(*pull_);
  pull_.reset();
  if (pull.listing) listed_upto_ = pull.listed_last == last_dot() ? Dot{} : pull.listed_last;
  if (theirs == wire_digest() || pull.news) {
    dry_.erase(pull.peer);
  } else {
    dry_[pull.peer] = pull.listing ? 1 : dry_[pull.peer] + 1;
  }
  next_pull();
}

// ---- answering ------------------------------------------------------------------------------------------------------

void StateSync::answer_pull(NodeId peer, const crdt::VersionVector& theirs) {
  const std::vector<crdt::DotRange> missing = known_.minus(theirs, kRangesAnswered);
  Chunk chunk{options_.chunk_bytes};
  for (const crdt::DotRange& range : missing) {
    const Dot last{range.origin, range.epoch, range.last};
    std::uint64_t done = range.last.value;
    const auto& living = replica_.living();
    for (auto at = living.lower_bound({range.origin, range.epoch, range.first});
         at != living.end() && at->first <= last; ++at) {
      if (chunk.add(at->second)) continue;
      done = at->first.sequence.value - 1;
      break;
    }
    if (done >= range.first.value) {
      chunk.message.covers.push_back({range.origin, range.epoch, {range.first, {done}}});
    }
    if (chunk.message.more) break;
  }
  chunk.message.more |= missing.size() == kRangesAnswered;
  for (const auto& [origin, row] : theirs.rows()) chunk.origins.erase(origin);
  answer(peer, std::move(chunk.message), chunk.origins);
}

Status StateSync::on_request(NodeId from, const wire::StateRequest& message) {
  SEDGE_TRY(const DotSet theirs, dots_from_wire(message.living));
  const Dot last = from_wire(message.last);
  Chunk chunk{options_.chunk_bytes};
  const auto& living = replica_.living();
  for (auto at = living.lower_bound(from_wire(message.first)); at != living.end() && at->first <= last; ++at) {
    if (!contains(theirs, at->first) && !chunk.add(at->second)) break;
  }
  for (const auto& [of, set] : theirs) chunk.origins.erase(of.first);
  answer(from, std::move(chunk.message), chunk.origins);
  return {};
}

void StateSync::answer(NodeId peer, wire::StateOps message, const std::set<NodeId>& new_origins) {
  for (const NodeId origin : new_origins) {
    const Bytes chain = directory_.chain_of(origin);
    if (!chain.empty()) message.chains.push_back(to_buffer(chain));
  }
  message.digest = wire_digest();
  stats_.ops_sent += message.ops.size();
  sends_.push_back({peer, env::Priority::kState, false, wire::frame(wire::MessageType::kStateOps, message)});
}

}  // namespace sedge::mesh
