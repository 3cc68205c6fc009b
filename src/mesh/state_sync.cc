#include "mesh/state_sync.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "mesh/manifest.h"
#include "mesh/state_rows.h"
#include "trust/quorum.h"
#include "trust/revocation.h"
#include "wire/codec.h"

namespace sedge::mesh {
namespace {

using crdt::Dot;
using crdt::Family;
using crdt::Op;
using crdt::OpKind;

constexpr std::size_t kLazyRecordsMax = 1024;   // then they go to disk without waiting for company
constexpr std::uint64_t kRevivedReported = 16;  // entries; the rest are counted
constexpr std::size_t kReportsMax = 4096;       // kinds times origins that a report is remembered for
constexpr std::string_view kSessionDomain = "sedge.state.session";
constexpr std::uint64_t kTotalMax = std::numeric_limits<std::int64_t>::max();

// Big-endian, so that the store's order of keys is the order of dots.
Buffer dot_key(const Dot& dot) {
  Buffer key = to_buffer(dot.origin.view());
  for (const std::uint64_t number : {dot.epoch.value, dot.sequence.value}) {
    for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<std::uint8_t>(number >> shift));
  }
  return key;
}

// Of one life of a node: its boot epoch is never used twice.
trust::Digest session_secret(const trust::SecretKey& key, BootEpoch epoch) {
  Buffer words = to_buffer(as_bytes(kSessionDomain));
  for (int shift = 0; shift < 64; shift += 8) words.push_back(static_cast<std::uint8_t>(epoch.value >> shift));
  return trust::digest(words, key.seed());
}

Status check_revocation(const trust::Directory& directory, const Op& op, std::string_view subject) {
  if (op.kind != OpKind::kInsert) return fail(Code::kPermissionDenied, "'{}' is a set that only grows", op.path);
  SEDGE_TRY(const trust::Revocation revocation, trust::decode_revocation(*op.value));
  if (revocation.subject.hex() != subject) {
    return fail(Code::kPermissionDenied, "'{}' got the revocation of {}", op.path, revocation.subject.hex());
  }
  return trust::verify_revocation(directory.root(), revocation);
}

}  // namespace

std::string_view verdict_name(StateVerdict verdict) {
  constexpr std::array<std::string_view, kStateVerdicts> kNames = {
      "merged",   "duplicate", "replaced", "conflict", "malformed", "unknown_origin", "forged",
      "past_cut", "forbidden", "early",    "full",     "own",       "collected"};
  return kNames.at(static_cast<std::size_t>(verdict));
}

StateSync::StateSync(Options options, const trust::SecretKey& key, const trust::Directory& directory)
    : options_(options),
      key_(key),
      directory_(directory),
      prng_(options_.seed),
      replica_(options_.limits),
      reconciler_(replica_, session_secret(key, options_.epoch)),
      rounds_(options_.seed % kSpotCheckRounds),
      seen_(options_.self, directory) {}

// ---- start ----------------------------------------------------------------------------------------------------------

Status StateSync::load(std::string_view bucket, Bytes key, Bytes value) {
  const Status loaded = bucket == kStateOpBucket         ? load_op(key, value)
                        : bucket == kStateVectorBucket   ? load_row(key, value)
                        : bucket == kStateFrontierBucket ? load_frontier(value)
                        : bucket == kStateChainBucket    ? load_chain(key, value)
                                                         : fail(Code::kInvalidArgument, "not a bucket of the state");
  if (!loaded) return in_context(fmt::format("{} {}", bucket, to_hex(key)), loaded.error());
  return {};
}

Status StateSync::load_op(Bytes key, Bytes value) {
  SEDGE_TRY(Op op, crdt::decode_op(value));
  const Dot dot = op.dot;
  if (dot_key(dot) != to_buffer(key)) return fail(Code::kDataLoss, "holds op {}", dot.text());
  if (dot.origin == options_.self && dot.epoch >= options_.epoch) {
    return fail(Code::kFailedPrecondition, "boot epoch {} is not new: op {} used it", options_.epoch.value, dot.text());
  }
  hybrid_.observe(op.stamp);
  known_.add(dot);
  SEDGE_TRY(const crdt::MergeResult result, replica_.apply(op));
  for (const Dot& ended : result.ended) erase(ended);  // a crash came between a write and its tidying up
  if (result.outcome == crdt::Merge::kReplaced) erase(dot);
  return {};
}

Status StateSync::load_row(Bytes key, Bytes value) {
  SEDGE_TRY(const wire::StateRow row, wire::decode<wire::StateRow>(value));
  if (to_buffer(row.origin.view()) != to_buffer(key)) return fail(Code::kDataLoss, "holds origin {}", row.origin.hex());
  SEDGE_TRY(const crdt::VersionVector::Row known, from_wire(row));
  if (row.origin == options_.self && !known.epochs.empty() && known.epochs.rbegin()->first >= options_.epoch) {
    return fail(Code::kFailedPrecondition, "boot epoch {} is not new: epoch {} was used", options_.epoch.value,
                known.epochs.rbegin()->first.value);
  }
  known_.add_row(row.origin, known);
  return {};
}

void StateSync::start(Instant now) {
  now_ = now;
  clock_.start(hybrid_.last().ms(), now);
  round_due_ = now + options_.round;
  for (const auto& [dot, op] : replica_.living()) {
    if (op.path == seen_path(dot.origin)) seen_.note(dot.origin, op);
  }
  keep_chains();
  hold_tombstones();  // those before the frontier came late, or a crash came before they were erased
  plan_statement(options_.collect_every / 10, options_.collect_every / 5);
}

// ---- writes of this node --------------------------------------------------------------------------------------------

Result<Ticket> StateSync::set(std::string_view path, std::optional<Buffer> value, Instant now) {
  return write(OpKind::kRegister, path, std::move(value), 0, now);
}
Result<Ticket> StateSync::set_multi(std::string_view path, std::optional<Buffer> value, Instant now) {
  return write(OpKind::kMulti, path, std::move(value), 0, now);
}
Result<Ticket> StateSync::add(std::string_view path, std::int64_t change, Instant now) {
  return write(OpKind::kCounter, path, std::nullopt, change, now);
}
Result<Ticket> StateSync::insert(std::string_view path, Buffer element, Instant now) {
  return write(OpKind::kInsert, path, std::move(element), 0, now);
}
Result<Ticket> StateSync::remove(std::string_view path, Buffer element, Instant now) {
  return write(OpKind::kRemove, path, std::move(element), 0, now);
}

Result<Ticket> StateSync::insert_2p(std::string_view path, Buffer element, Instant now) {
  return write(OpKind::kInsert2P, path, std::move(element), 0, now);
}
Result<Ticket> StateSync::remove_2p(std::string_view path, Buffer element, Instant now) {
  return write(OpKind::kRemove2P, path, std::move(element), 0, now);
}

Result<Ticket> StateSync::append(std::string_view path, Buffer entry, std::uint64_t keep, Instant now) {
  if (keep == 0 || keep > crdt::kKeepMax) {
    return fail(Code::kInvalidArgument, "a log keeps 1 to {} entries, not {}", crdt::kKeepMax, keep);
  }
  return write(OpKind::kAppend, path, std::move(entry), static_cast<std::int64_t>(keep), now);
}

Result<Ticket> StateSync::write(OpKind kind, std::string_view path, std::optional<Buffer> value, std::int64_t change,
                                Instant now) {
  now_ = now;
  Op op;
  op.dot = {options_.self, options_.epoch, {sequence_.value + 1}};
  op.kind = kind;
  op.path = path;
  op.value = std::move(value);
  SEDGE_CHECK(check_write(op));
  SEDGE_CHECK(complete(op, change));
  op.stamp = hybrid_.next(clock_.ms(now));
  SEDGE_CHECK(replica_.check_room(op));
  crdt::sign_op(op, key_);
  ++sequence_;
  ++ticket_;
  Buffer encoded = crdt::encode_op(op);
  staged_.push_back({ticket_, std::move(op), std::move(encoded)});
  return ticket_;
}

Status StateSync::check_write(const Op& op) const {
  SEDGE_CHECK(crdt::check_path(op.path));
  if (op.value && op.value->size() > crdt::kValueBytesMax) {
    return fail(Code::kInvalidArgument, "'{}': a value of {} bytes; {} are allowed", op.path, op.value->size(),
                crdt::kValueBytesMax);
  }
  SEDGE_CHECK(may_write(options_.self, op));
  const Family family = crdt::family_of(op.kind);
  if (replica_.holds_other(op.path, family)) {
    return fail(Code::kFailedPrecondition, "'{}' is a {}, not a {}", op.path,
                crdt::family_name(replica_.read(op.path)->family), crdt::family_name(family));
  }
  if (staged_.size() >= options_.unacknowledged_max) {
    return fail(Code::kResourceExhausted, "{} writes wait for the disk: retry when some are done", staged_.size());
  }
  return {};
}

// What the write has to say about those before it, the ones on their way to the disk included.
Status StateSync::complete(Op& op, std::int64_t change) const {
  const Op* const staged = last_staged(op);
  op.replaces = replica_.replaced_by(op.kind, op.path, op.value);
  if (op.kind == OpKind::kMulti || op.kind == OpKind::kInsert || op.kind == OpKind::kRemove) {
    if (staged) {
      crdt::merge_dots(op.replaces, staged->replaces);
      crdt::merge_dots(op.replaces, std::array{staged->dot});
    }
    if (op.replaces.size() > crdt::kReplacesMax) {
      return fail(Code::kResourceExhausted, "'{}' was written by {} nodes; {} are allowed", op.path, op.replaces.size(),
                  crdt::kReplacesMax);
    }
  }
  if (op.kind == OpKind::kAppend) {
    op.plus = static_cast<std::uint64_t>(change);
    const auto keep = staged ? std::optional(staged->plus) : replica_.keep_of(op.path);
    const bool empty = staged ? !staged->value : !replica_.read(op.path);
    if (!keep || *keep == op.plus || empty) return {};
    return fail(Code::kFailedPrecondition, "'{}' is a log that keeps {} entries, not {}: erase it to change that",
                op.path, *keep, op.plus);
  }
  if (op.kind == OpKind::kInsert2P) {
    const bool over = (staged && staged->kind == OpKind::kRemove2P) || replica_.removed_for_good(op.path, *op.value);
    if (!over) return {};
    return fail(Code::kFailedPrecondition, "this element was removed from the two-phase set '{}', for good", op.path);
  }
  if (op.kind != OpKind::kCounter) return {};
  if (const auto before = staged ? std::optional<crdt::OpView>(*staged) : replica_.counter_of(op.path, options_.self)) {
    op.plus = before->plus;
    op.minus = before->minus;
  }
  std::uint64_t& total = change < 0 ? op.minus : op.plus;
  const std::uint64_t size = change < 0 ? 0 - static_cast<std::uint64_t>(change) : static_cast<std::uint64_t>(change);
  if (total > kTotalMax || size > kTotalMax - total) {
    return fail(Code::kOutOfRange, "'{}': this node's part of the counter is full", op.path);
  }
  total += size;
  return {};
}

// Errors: PermissionDenied. The same question for our writes and for others'.
Status StateSync::may_write(NodeId origin, const Op& op) const {
  if (!op.path.starts_with("sys/")) {
    const auto granted = [&](trust::Verb verb) -> Status {
      if (directory_.grants(origin, verb, op.path)) return {};
      return fail(Code::kPermissionDenied, "{} has no grant '{}:{}'", origin.short_hex(), trust::verb_name(verb),
                  op.path);
    };
    SEDGE_CHECK(granted(trust::Verb::kWrite));
    return op.value && is_manifest(*op.value) ? granted(trust::Verb::kModel) : Status();
  }
  if (op.path.starts_with("sys/node/" + origin.hex() + "/")) return {};
  if (op.path.starts_with(trust::kRevocationPath)) {
    return check_revocation(directory_, op, std::string_view(op.path).substr(trust::kRevocationPath.size()));
  }
  if (op.path == trust::kQuorumPath) {
    if (op.kind != OpKind::kInsert) return fail(Code::kPermissionDenied, "'{}' is a set that only grows", op.path);
    const auto order = trust::open_quorum(directory_.root(), *op.value);
    return order ? Status() : Status(std::unexpected(order.error()));
  }
  return fail(Code::kPermissionDenied, "'{}' is not {}'s to write", op.path, origin.short_hex());
}

const Op* StateSync::last_staged(const Op& like) const {
  const Family family = crdt::family_of(like.kind);
  const auto same = [&](const Staged& staged) {
    return crdt::family_of(staged.op.kind) == family && staged.op.path == like.path &&
           (!crdt::has_elements(family) || staged.op.value == like.value);
  };
  const auto at = std::find_if(staged_.rbegin(), staged_.rend(), same);
  return at == staged_.rend() ? nullptr : &at->op;
}

void StateSync::on_persisting(env::Lsn lsn) {
  if (adopting_ && adopting_->drained && !adopting_->lsn) adopting_->lsn = lsn;
  if (drained_ == numbered_) return;
  flights_.push_back({lsn, drained_ - numbered_});
  numbered_ = drained_;
}

void StateSync::on_durable(env::Lsn upto, Instant now) {
  now_ = now;
  if (adopting_ && adopting_->lsn && *adopting_->lsn <= upto) on_adopted();
  while (!flights_.empty() && flights_.front().lsn <= upto) {
    std::size_t count = flights_.front().count;
    flights_.pop_front();
    for (; count > 0 && !staged_.empty(); --count) {
      Staged staged = std::move(staged_.front());
      staged_.pop_front();
      --drained_;
      --numbered_;
      commit(std::move(staged));
    }
  }
}

void StateSync::commit(Staged staged) {
  const Dot dot = staged.op.dot;
  const std::string& path = staged.op.path;
  known_.add(dot);
  dirty_rows_.insert(dot.origin);
  auto result = replica_.apply(staged.op);
  if (!result) {  // others' writes took the last room meanwhile
    erase(dot);
    if (hooks.done) hooks.done(staged.ticket, std::unexpected(result.error()));
    return;
  }
  ++stats_.written;
  for (const Dot& ended : result->ended) erase(ended);
  if (result->outcome == crdt::Merge::kMerged) {
    outgoing_.push_back(std::move(staged.encoded));
    on_changed(path, dot.origin);
  } else {
    erase(dot);  // a newer one arrived while it was written
    const auto winner = staged.op.kind == OpKind::kRegister ? replica_.register_at(path) : std::nullopt;
    if (winner && is_older(*winner, staged.op)) write_again(std::move(staged.op));
  }
  if (hooks.done) hooks.done(staged.ticket, {});
}

// By when they were truly made, though by their stamps it is the other way round.
bool StateSync::is_older(const crdt::OpView& theirs, const crdt::OpView& ours) const {
  return theirs.dot.origin != options_.self && ours.dot.origin == options_.self && ours.dot.epoch == options_.epoch &&
         ours.stamp < theirs.stamp && theirs.stamp.ms() < leaps_.truly_ms(ours.stamp.ms());
}

std::optional<Op> StateSync::ours_ended_by(const Op& older) const {
  if (older.kind != OpKind::kRegister) return std::nullopt;
  const auto ours = replica_.register_at(older.path);
  return ours && is_older(older, *ours) ? std::optional(ours->copy()) : std::nullopt;
}

// Refused, it is lost to the other one, as any that is written at the same time.
void StateSync::write_again(Op ours) {
  if (last_staged(ours)) return;  // a newer one of ours is on its way
  if (write(OpKind::kRegister, ours.path, std::move(ours.value), 0, now_)) ++stats_.written_again;
}

void StateSync::abandon(const Error& why) {
  std::deque<Staged> staged = std::exchange(staged_, {});
  flights_.clear();
  drained_ = numbered_ = 0;
  adopting_.reset();
  for (const Staged& lost : staged) {
    if (hooks.done) hooks.done(lost.ticket, std::unexpected(why));
  }
}

// ---- writes of others -----------------------------------------------------------------------------------------------

StateVerdict StateSync::check_origin(const Op& op, Bytes encoded) const {
  const NodeId origin = op.dot.origin;
  if (!directory_.find(origin)) return Verdict::kUnknownOrigin;
  if (!directory_.verify(origin, crdt::kOpDomain, crdt::signed_part(encoded), op.signature)) return Verdict::kForged;
  if (!directory_.accepts_write(origin, op.dot.epoch, op.dot.sequence)) return Verdict::kPastCut;
  if (!may_write(origin, op)) return Verdict::kForbidden;
  const bool ours = origin == options_.self && op.dot.epoch >= options_.epoch;
  return ours && !known_.contains(op.dot) ? Verdict::kOwn : Verdict::kMerged;
}

StateVerdict StateSync::judge(Bytes encoded, Dot& dot, std::uint64_t their_frontier_ms) {
  auto op = crdt::decode_op(encoded);
  if (!op) return Verdict::kMalformed;
  dot = op->dot;
  const auto living = replica_.living().find(dot);
  if (living != replica_.living().end() && living->second == *op) return Verdict::kDuplicate;
  if (before_frontier(*op)) {
    // What would end it may be gone. Who has come as far as we must know. A tombstone that we had does not come twice,
    // but we may only think that we had it: a cover says no more than that it does not live with whom we asked.
    const bool again = crdt::is_tombstone(*op) && known_.contains(dot) && !replica_.ends_something(*op);
    if (their_frontier_ms < frontier_ms_ || again) return Verdict::kCollected;
  }
  const Verdict verdict = check_origin(*op, encoded);
  if (verdict == Verdict::kForbidden && hooks.forbidden) hooks.forbidden(dot.origin, op->path);
  if (verdict != Verdict::kMerged) return verdict;
  const auto ahead_ms = static_cast<std::uint64_t>(options_.ahead_max / 1ms);
  if (op->stamp.ms() > clock_.ms(now_) + ahead_ms) return hold(*op, encoded);
  return merge(*op, encoded);
}

StateVerdict StateSync::merge(const Op& op, Bytes encoded) {
  const Dot dot = op.dot;
  const bool late = before_frontier(op);
  const bool collected = late && known_.contains(dot);
  auto ours = ours_ended_by(op);
  const auto result = replica_.apply(op);
  if (!result) return Verdict::kFull;
  hybrid_.observe(op.stamp);
  known_.add(dot);
  dirty_rows_.insert(dot.origin);
  for (const Dot& ended : result->ended) erase(ended);
  const auto living = replica_.living().find(dot);
  if (living != replica_.living().end() && living->second.signature == op.signature) {
    keep(dot, encoded);
    on_changed(op.path, dot.origin);
  }
  if (crdt::is_tombstone(op) && op.stamp.ms() < late_ms() && result->outcome == crdt::Merge::kMerged)
    held_[dot] = clock_.ms(now_);
  if (late && result->outcome == crdt::Merge::kMerged) {
    if (collected) {
      ++stats_.revived;
      if (hooks.report && stats_.revived <= kRevivedReported) {
        hooks.report(fmt::format(
            "entry '{}' was erased here and is back: the other side of a split of more than {} h had kept it", op.path,
            options_.collect_after / 1h));
      }
    }
  }
  if (ours && result->outcome == crdt::Merge::kMerged) write_again(*std::move(ours));
  constexpr std::array kVerdicts = {Verdict::kMerged, Verdict::kDuplicate, Verdict::kReplaced, Verdict::kConflict};
  return kVerdicts.at(static_cast<std::size_t>(result->outcome));
}

StateVerdict StateSync::hold(const Op& op, Bytes encoded) {
  const std::pair key(op.stamp, op.dot);
  if (quarantine_.contains(key)) return Verdict::kEarly;
  if (quarantine_.size() >= options_.quarantine_max ||
      quarantine_bytes_ + encoded.size() > options_.quarantine_bytes_max) {
    return Verdict::kFull;
  }
  quarantine_bytes_ += encoded.size();
  quarantine_.emplace(key, to_buffer(encoded));
  stats_.in_quarantine = quarantine_.size();
  return Verdict::kEarly;
}

// Judged again from the beginning: a revocation may have come meanwhile.
void StateSync::release_quarantine() {
  const std::uint64_t upto_ms = clock_.ms(now_) + static_cast<std::uint64_t>(options_.ahead_max / 1ms);
  while (!quarantine_.empty() && quarantine_.begin()->first.first.ms() <= upto_ms) {
    const auto node = quarantine_.extract(quarantine_.begin());
    quarantine_bytes_ -= node.mapped().size();
    stats_.in_quarantine = quarantine_.size();
    Dot dot;
    const Verdict verdict = judge(node.mapped(), dot, 0);
    ++stats_.verdicts[static_cast<std::size_t>(verdict)];
    report(verdict, dot.origin);
  }
}

void StateSync::report(Verdict verdict, NodeId origin) {
  constexpr std::array<std::pair<Verdict, std::string_view>, 4> kTexts = {{
      {Verdict::kConflict, "signed two writes with one number: its home was cloned, or it lies"},
      {Verdict::kEarly, "stamps its writes ahead of the fleet's clock: they wait until the clock gets there"},
      {Verdict::kFull, "wrote more than there is room for: raise the limits or erase entries"},
      {Verdict::kOwn, "is this node, and wrote what this home never held: the home was cloned, or is an old backup"},
  }};
  const auto at = std::ranges::find(kTexts, verdict, &std::pair<Verdict, std::string_view>::first);
  if (at == kTexts.end() || !hooks.report || reported_.size() >= kReportsMax) return;
  if (reported_.emplace(verdict, origin).second) hooks.report(fmt::format("node {} {}", origin.hex(), at->second));
}

void StateSync::on_changed(const std::string& path, NodeId writer) {
  if (path == seen_path(writer)) seen_.note(writer, replica_.register_at(path));
  if (hooks.changed) hooks.changed(path, writer);
}

void StateSync::learn_chains(const wire::StateOps& message) {
  for (const Buffer& bytes : message.chains) {
    const auto chain = trust::decode_chain(bytes);
    if (!chain || directory_.find(trust::node_id_of(chain->node.subject)) || !hooks.learn_chain) continue;
    // A refusal shows in the verdicts on that origin's writes.
    static_cast<void>(hooks.learn_chain(bytes));
  }
}

Status StateSync::take_ops(const wire::StateOps& message, Pull* pull, std::uint64_t their_frontier_ms) {
  learn_chains(message);
  std::size_t lies = 0;
  for (const Buffer& encoded : message.ops) {
    Dot dot;
    const Verdict verdict = judge(encoded, dot, their_frontier_ms);
    ++stats_.verdicts[static_cast<std::size_t>(verdict)];
    report(verdict, dot.origin);
    lies += verdict == Verdict::kMalformed || verdict == Verdict::kForged;
    if (!pull) continue;
    pull->news |= verdict == Verdict::kMerged;
    if (verdict > Verdict::kConflict && verdict != Verdict::kMalformed) pull->passed.insert(dot);
  }
  if (lies == 0) return {};
  return fail(Code::kUnauthenticated, "{} of {} writes were malformed or forged", lies, message.ops.size());
}

Status StateSync::on_broadcast(NodeId origin, Bytes payload, Instant now) {
  now_ = now;
  const auto message = wire::decode<wire::StateOps>(payload);
  if (!message) {
    ++stats_.verdicts[static_cast<std::size_t>(Verdict::kMalformed)];
    return in_context(fmt::format("state of {}", origin.short_hex()), message.error());
  }
  return take_ops(*message, nullptr, 0);
}

void StateSync::on_directory_changed(Instant now) {
  now_ = now;
  dry_.clear();  // what was refused may be accepted now
  std::vector<std::pair<Dot, std::string>> past;
  for (const auto& [dot, op] : replica_.living()) {
    const Status accepted = directory_.accepts_write(dot.origin, dot.epoch, dot.sequence);
    if (!accepted && accepted.error().code == Code::kPermissionDenied) past.emplace_back(dot, std::string(op.path));
  }
  for (const auto& [dot, path] : past) {
    replica_.withdraw(dot);
    erase(dot);
    ++stats_.withdrawn;
    on_changed(path, dot.origin);
  }
}

// ---- disk -----------------------------------------------------------------------------------------------------------

void StateSync::keep(const Dot& dot, Bytes encoded) {
  keep_chain(dot.origin);
  lazy({std::string(kStateOpBucket), dot_key(dot), to_buffer(encoded), false});
}

void StateSync::erase(const Dot& dot) {
  lazy({std::string(kStateOpBucket), dot_key(dot), {}, true});
  drop_chain(dot.origin);
}

// Can wait for company: what a power cut takes of these comes back from the others, or is erased again at load.
void StateSync::lazy(env::Record record) {
  lazy_.push_back(std::move(record));
  lazy_due_ = std::min(lazy_due_, now_ + options_.lazy_flush);
  flush_ = flush_ || lazy_.size() >= kLazyRecordsMax;
}

void StateSync::drain(env::Outbox& out) {
  if (flush_ || drained_ < staged_.size()) {
    std::ranges::move(lazy_, std::back_inserter(out.records));
    for (; drained_ < staged_.size(); ++drained_) {
      const Staged& staged = staged_[drained_];
      out.records.push_back({std::string(kStateOpBucket), dot_key(staged.op.dot), staged.encoded, false});
    }
    for (const NodeId origin : dirty_rows_) {
      Buffer row = wire::encode(to_wire(origin, *known_.row(origin)));
      out.records.push_back({std::string(kStateVectorBucket), to_buffer(origin.view()), std::move(row), false});
    }
    lazy_.clear();
    if (adopting_) adopting_->drained = true;
    dirty_rows_.clear();
    lazy_due_ = kNever;
    flush_ = false;
  }
  std::ranges::move(sends_, std::back_inserter(out.sends));
  sends_.clear();
}

std::vector<Buffer> StateSync::take_outgoing() {
  constexpr std::size_t kAround = 64;  // bytes that the message adds to its ops
  std::vector<Buffer> batches;
  wire::StateOps batch;
  std::size_t bytes = kAround;
  const auto close = [&] {
    if (!batch.ops.empty()) batches.push_back(wire::encode(std::exchange(batch, {})));
    bytes = kAround;
  };
  for (Buffer& op : std::exchange(outgoing_, {})) {
    if (kAround + op.size() + 4 > kStateBatchBytesMax) {  // too large for a batch: neighbours are told to pull
      for (const NodeId peer : peers_) send_brief(peer);
      continue;
    }
    if (bytes + op.size() + 4 > kStateBatchBytesMax) close();
    bytes += op.size() + 4;
    batch.ops.push_back(std::move(op));
  }
  close();
  return batches;
}

}  // namespace sedge::mesh
