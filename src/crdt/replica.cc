#include "crdt/replica.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <tuple>

#include "base/assert.h"
#include "base/prng.h"

namespace sedge::crdt {
namespace {

auto age(const OpView& op) { return std::tie(op.stamp, op.dot, op.signature); }

// In a 2P-set a removal comes after any insert.
bool is_final(const OpView& op) { return op.kind == OpKind::kRemove2P; }

// Whether `later` ends the life of `earlier`, both of one slot.
bool ends(const OpView& later, const OpView& earlier) {
  const Family family = family_of(later.kind);
  if (family == Family::kRegister || family == Family::kCounter) return age(later) > age(earlier);
  if (family == Family::k2PSet && is_final(later) != is_final(earlier)) return is_final(later);
  if (family == Family::k2PSet) return age(later) > age(earlier);
  if (later.stamp <= earlier.stamp) return false;
  const auto at = std::ranges::lower_bound(later.replaces, earlier.dot.origin, {}, &Dot::origin);
  return at != later.replaces.end() && at->origin == earlier.dot.origin && earlier.dot <= *at;
}

// What the allocator gives for a record, in units of 16 bytes with 8 of its own, and what three orders add at most.
std::size_t footprint(const OpView& op) {
  constexpr std::size_t kUnit = 16, kOwn = 8, kPointer = 9;
  const std::size_t record = (Record::size_of(op) + kOwn + kUnit - 1) / kUnit * kUnit;
  return record + (is_tombstone(op) ? 3 : 2) * kPointer;
}

// A signature's second half is as good as a hash of the write: it differs for any other write, key or dot. (The first
// half is the signer's random point, which one who equivocates can use twice.)
Digest contribution(const OpView& op) {
  Digest out{};
  for (std::size_t word = 0; word < out.size(); ++word) {
    std::uint64_t state = 0;
    std::memcpy(&state, op.signature.bytes.data() + 32 + 8 * word, 8);
    state ^= op.dot.epoch.value * 0x9E3779B97F4A7C15ULL + op.dot.sequence.value;
    out[word] = splitmix64(state);
  }
  return out;
}

std::pair<BootEpoch, Sequence> turn(const Dot& dot) { return {dot.epoch, dot.sequence}; }

auto lower_bound(const Origins& origins, NodeId id) {
  return std::ranges::lower_bound(origins, id, {}, &Origins::value_type::first);
}

std::int64_t clamp_total(Uint128 plus, Uint128 minus) {
  constexpr auto kMax = static_cast<Uint128>(std::numeric_limits<std::int64_t>::max());
  if (plus >= minus) return static_cast<std::int64_t>(std::min(plus - minus, kMax));
  return -static_cast<std::int64_t>(std::min(minus - plus, kMax));
}

}  // namespace

void merge_dots(std::vector<Dot>& all, std::span<const Dot> more) {
  for (const Dot& dot : more) {
    const auto at = std::ranges::lower_bound(all, dot.origin, {}, &Dot::origin);
    if (at == all.end() || at->origin != dot.origin) {
      all.insert(at, dot);
    } else {
      *at = std::max(*at, dot);
    }
  }
}

Replica::Slot Replica::slot_of(const OpView& op) {
  Slot slot{.path = op.path, .family = family_of(op.kind)};
  if (slot.family == Family::kCounter) slot.origin = op.dot.origin;
  if (has_elements(slot.family)) slot.element = op.value.value_or(Bytes());
  if (slot.family == Family::kLog) slot.keep = op.plus;
  return slot;
}

// By path, family, and what tells slots of a family apart.
std::strong_ordering Replica::compare(const Record& record, const Slot& slot) {
  if (const auto order = record.path() <=> slot.path; order != 0) return order;
  const Family family = family_of(record.kind());
  if (family != slot.family) return family <=> slot.family;
  if (family == Family::kCounter) return record.origin().id <=> slot.origin;
  if (family == Family::kLog) return record.number(0) <=> slot.keep;
  if (has_elements(family)) return as_text(record.value()) <=> as_text(slot.element);
  return std::strong_ordering::equal;
}

Replica::Position Replica::position(const Slot& slot) const {
  return places_.search([&](const Record* record) { return compare(*record, slot) < 0; });
}

Replica::Position Replica::behind(std::string_view path) const {
  return places_.search([&](const Record* record) { return record->path() <= path; });
}

Replica::Position Replica::position(const Origin& origin, const Dot& dot) {
  return origin.writes.search([&](const Record* record) { return record->turn() < turn(dot); });
}

Replica::Position Replica::position(Hlc stamp, const Dot& dot) const {
  return tombstones_.search(
      [&](const Record* record) { return record->stamp() != stamp ? record->stamp() < stamp : record->dot() < dot; });
}

template <class While>
std::vector<const Record*> Replica::take(Position& at, const While& of_it) const {
  std::vector<const Record*> records;
  for (; at != places_.end() && of_it(*places_[at]); at = places_.next(at)) records.push_back(places_[at]);
  return records;
}

std::vector<const Record*> Replica::in(const Slot& slot) const {
  Position at = position(slot);
  return take(at, [&](const Record& record) { return compare(record, slot) == 0; });
}

// Where a slot holds one write at most.
std::optional<OpView> Replica::only_in(const Slot& slot) const {
  const Position at = position(slot);
  if (at == places_.end() || compare(*places_[at], slot) != 0) return std::nullopt;
  return OpView(*places_[at]);
}

// Where in its writer's order a write is, or would be.
Replica::Turn Replica::turn_of(const Dot& dot) const {
  const auto origin = lower_bound(origins_, dot.origin);
  if (origin == origins_.end() || origin->first != dot.origin) return {};
  return {origin->second.get(), position(*origin->second, dot)};
}

const Record* Replica::find(const Dot& dot) const { return at(turn_of(dot), dot); }

const Record* Replica::at(const Turn& turn, const Dot& dot) {
  if (!turn.origin || turn.at == turn.origin->writes.end()) return nullptr;
  const Record* const record = turn.origin->writes[turn.at];
  return record->turn() == std::pair(dot.epoch, dot.sequence) ? record : nullptr;
}

Replica::Plan Replica::plan(const OpView& op) const {
  Plan plan{.turn = turn_of(op.dot)};
  if (const Record* const same = at(plan.turn, op.dot)) {
    if (same->signature() == op.signature) return {Merge::kDuplicate};
    plan.outcome = Merge::kConflict;
    if (same->signature() > op.signature) return plan;
    plan.ended.push_back(same);
  }
  const Slot slot = slot_of(op);
  plan.place = position(slot);
  if (slot.family == Family::kLog) return plan_log(op, slot, std::move(plan));
  for (Position at = plan.place; at != places_.end() && compare(*places_[at], slot) == 0; at = places_.next(at)) {
    const Record* const other = places_[at];
    if (other->dot() == op.dot) continue;
    if (ends(*other, op)) return {Merge::kReplaced};
    if (ends(op, *other)) plan.ended.push_back(other);
  }
  return plan;
}

Replica::Plan Replica::plan_log(const OpView& op, const Slot& slot, Plan plan) const {
  std::vector<const Record*> entries;
  for (const Record* other : in(slot)) {
    if (other->dot() == op.dot) continue;
    const bool older = age(*other) < age(op);
    if (!other->has_value() && !older) return {Merge::kReplaced};
    if (!op.value && older) plan.ended.push_back(other);
    if (op.value && other->has_value()) entries.push_back(other);
  }
  if (entries.size() < op.plus) return plan;
  const auto last = entries.begin() + static_cast<std::ptrdiff_t>(op.plus - 1);  // that may stay, but for this one
  const auto newer = [](const Record* a, const Record* b) { return age(*a) > age(*b); };
  std::ranges::nth_element(entries, last, newer);
  if (age(**last) > age(op)) return {Merge::kReplaced};
  plan.ended.insert(plan.ended.end(), last, entries.end());
  return plan;
}

// The fleet's own entries have a sixteenth more: they find room when all else is full.
Replica::Limits Replica::room_for(const OpView& op) const {
  Limits room = limits_;
  if (!op.path.starts_with("sys/")) return room;
  room.writes_max += room.writes_max / 16;
  room.bytes_max += room.bytes_max / 16;
  return room;
}

Status Replica::check_room(const OpView& op, const Plan& planned) const {
  std::size_t bytes_freed = 0;
  for (const Record* record : planned.ended) bytes_freed += footprint(*record);
  const std::size_t writes = writes_ - planned.ended.size() + 1;
  const std::size_t bytes = bytes_ - bytes_freed + footprint(op);
  const bool shrinks = writes <= writes_ && bytes <= bytes_;
  const Limits room = room_for(op);
  if (!shrinks && (writes > room.writes_max || bytes > room.bytes_max)) {
    return fail(Code::kResourceExhausted,
                "no room for '{}': {} writes in {} bytes are held, {} in {} are allowed; erase some", op.path, writes_,
                bytes_, limits_.writes_max, limits_.bytes_max);
  }
  return check_part(op, planned);
}

// The same question for what its origin holds.
Status Replica::check_part(const OpView& op, const Plan& planned) const {
  const Origin* const origin = planned.turn.origin;
  const std::size_t held_writes = origin ? origin->writes.size() : 0;
  const std::size_t held_bytes = origin ? origin->bytes : 0;
  std::size_t writes = held_writes + 1;
  std::size_t bytes = held_bytes + footprint(op);
  for (const Record* record : planned.ended) {
    if (record->origin().id != op.dot.origin) continue;
    --writes;
    bytes -= footprint(*record);
  }
  const bool shrinks = writes <= held_writes && bytes <= held_bytes;
  const Limits room = room_for(op);
  if (shrinks || (writes <= room.writes_max / room.origin_part && bytes <= room.bytes_max / room.origin_part))
    return {};
  return fail(Code::kResourceExhausted,
              "no room for '{}': its writer holds {} writes in {} bytes, its part of the fleet's", op.path, held_writes,
              held_bytes);
}

Status Replica::check_room(const OpView& op) const {
  const Plan planned = plan(op);
  return planned.outcome == Merge::kMerged ? check_room(op, planned) : Status{};
}

Result<MergeResult> Replica::apply(const OpView& op) {
  const Plan planned = plan(op);
  MergeResult result{planned.outcome, {}};
  const bool lives =
      planned.outcome == Merge::kMerged || (planned.outcome == Merge::kConflict && !planned.ended.empty());
  if (!lives) return result;
  SEDGE_CHECK(check_room(op, planned));
  for (const Record* record : planned.ended) result.ended.push_back(record->dot());
  if (planned.outcome == Merge::kConflict) {
    for (const Record* record : planned.ended) erase(record);
    insert(op, {.turn = turn_of(op.dot), .place = position(slot_of(op))});
  } else {
    insert(op, planned);
  }
  return result;
}

bool Replica::ends_something(const OpView& op) const {
  return std::ranges::any_of(plan(op).ended, [](const Record* record) { return !is_tombstone(*record); });
}

bool Replica::withdraw(const Dot& dot) {
  const Record* const record = find(dot);
  if (record) erase(record);
  return record != nullptr;
}

Replica::~Replica() {
  for (const auto& [id, origin] : origins_) {
    const Records& writes = origin->writes;
    for (Position at = writes.begin(); at != writes.end(); at = writes.next(at)) Record::free(writes[at]);
  }
}

// The first of those that it ends leaves it its place.
void Replica::insert(const OpView& op, const Plan& planned) {
  Origin& origin = planned.turn.origin ? *planned.turn.origin : make_origin(op.dot.origin);
  Record* const record = Record::make(op, origin);
  origin.writes.insert(planned.turn.at, record);
  if (is_tombstone(op)) tombstones_.insert(position(op.stamp, op.dot), record);
  account(op, origin, true);
  if (planned.ended.empty()) return places_.insert(planned.place, record);
  places_[place_of(planned.ended.front(), planned.place)] = record;
  forget(planned.ended.front());
  for (const Record* ended : std::span(planned.ended).subspan(1)) erase(ended);
}

Replica::Position Replica::place_of(const Record* record, Position from) const {
  while (places_[from] != record) from = places_.next(from);
  return from;
}

void Replica::erase(const Record* record) {
  places_.erase(place_of(record, position(slot_of(*record))));
  forget(record);
}

// All of it but its place.
void Replica::forget(const Record* record) {
  const OpView op(*record);
  Origin& origin = record->origin();
  account(op, origin, false);
  if (is_tombstone(op)) tombstones_.erase(position(op.stamp, op.dot));
  const Position at = position(origin, op.dot);
  Record* const owned = origin.writes[at];
  origin.writes.erase(at);
  Record::free(owned);
}

Origin& Replica::make_origin(NodeId id) {
  return *origins_.emplace(lower_bound(origins_, id), id, std::make_unique<Origin>(id))->second;
}

void Replica::account(const OpView& op, Origin& origin, bool add) {
  ++changes_;
  writes_ = add ? writes_ + 1 : writes_ - 1;
  const Digest part = contribution(op);
  for (std::size_t word = 0; word < part.size(); ++word) {
    const std::uint64_t change = add ? part[word] : 0 - part[word];
    digest_[word] += change;
    origin.digest[word] += change;
  }
  origin.bytes = add ? origin.bytes + footprint(op) : origin.bytes - footprint(op);
  bytes_ = add ? bytes_ + footprint(op) : bytes_ - footprint(op);
}

Digest Replica::digest_of(NodeId origin) const {
  const auto at = lower_bound(origins_, origin);
  return at == origins_.end() || at->first != origin ? Digest{} : at->second->digest;
}

Digest Replica::digest_without(Hlc upto) const {
  Digest digest = digest_;
  for (Position at = tombstones_.begin(); at != tombstones_.end() && tombstones_[at]->stamp() < upto;
       at = tombstones_.next(at)) {
    const Digest part = contribution(*tombstones_[at]);
    for (std::size_t word = 0; word < digest.size(); ++word) digest[word] -= part[word];
  }
  return digest;
}

bool Replica::has_tombstone(Hlc from, Hlc upto) const {
  const Position at = position(from, Dot{});
  return at != tombstones_.end() && tombstones_[at]->stamp() < upto;
}

// Whether no write at the path tells which of several values is read.
bool Replica::holds_one(std::string_view path) const {
  const Position first = position(Slot{.path = path});
  const Position over = behind(path);
  if (first == over) return true;
  const Slot one = slot_of(*places_[first]);
  const Slot other = slot_of(*places_[places_.previous(over)]);
  return one.family == other.family && one.keep == other.keep;
}

std::vector<Dot> Replica::collectable(Hlc upto, std::size_t max, const std::function<bool(const Dot&)>& keep) const {
  std::vector<Dot> dots;
  for (Position at = tombstones_.begin(); at != tombstones_.end(); at = tombstones_.next(at)) {
    const Record& record = *tombstones_[at];
    if (record.stamp() >= upto || dots.size() >= max) break;
    if (!keep(record.dot()) && holds_one(record.path())) dots.push_back(record.dot());
  }
  return dots;
}

namespace {

bool may_be_erased(Family family) { return family != Family::kCounter && !has_elements(family); }

// All living writes of one family at one path.
struct FamilyView {
  std::vector<const Record*> records;
  const Record* newest = nullptr;

  void add(const Record* record) {
    records.push_back(record);
    if (!newest || age(*newest) < age(*record)) newest = record;
  }
};

std::optional<Value> value_of(FamilyView view) {
  Value value{.family = family_of(view.newest->kind()),
              .values = {},
              .dots = {},
              .stamp = view.newest->stamp(),
              .writer = view.newest->origin().id};
  if (value.family == Family::kLog) {
    value.keep = view.newest->number(0);
    std::erase_if(view.records, [&](const Record* record) { return record->number(0) != value.keep; });
  }
  std::ranges::sort(view.records, [](const Record* a, const Record* b) { return age(*a) < age(*b); });
  Uint128 plus = 0;
  Uint128 minus = 0;
  for (const Record* record : view.records) {
    plus += record->number(0);
    minus += record->number(1);
    if (!record->has_value() || record->kind() == OpKind::kRemove || is_final(*record)) continue;
    value.values.push_back(to_buffer(record->value()));
    if (value.family == Family::kLog) value.dots.push_back(record->dot());
  }
  if (value.family == Family::kCounter) value.total = clamp_total(plus, minus);
  if (has_elements(value.family)) {
    std::ranges::sort(value.values);
    const auto again = std::ranges::unique(value.values);
    value.values.erase(again.begin(), again.end());
  }
  const bool erased = value.values.empty() && may_be_erased(value.family);
  return erased ? std::nullopt : std::optional(std::move(value));
}

// Of all that lives at one path.
std::optional<Value> read_all(std::span<const Record* const> records) {
  std::array<FamilyView, kFamilies> families;
  for (const Record* record : records) families.at(static_cast<std::size_t>(family_of(record->kind()))).add(record);
  FamilyView* chosen = nullptr;
  for (FamilyView& view : families) {
    if (view.newest && (!chosen || age(*chosen->newest) < age(*view.newest))) chosen = &view;
  }
  return chosen ? value_of(std::move(*chosen)) : std::nullopt;
}

}  // namespace

std::optional<Value> Replica::read(std::string_view path) const {
  Position at = position(Slot{.path = path});
  return read_all(take(at, [&](const Record& record) { return record.path() == path; }));
}

void Replica::for_each(std::string_view prefix,
                       const std::function<void(const std::string&, const Value&)>& visit) const {
  for (Position at = position(Slot{.path = prefix}); at != places_.end();) {
    const std::string path(places_[at]->path());
    if (!path.starts_with(prefix)) return;
    const auto value = read_all(take(at, [&](const Record& record) { return record.path() == path; }));
    const std::uint64_t changes = changes_;
    if (value) visit(path, *value);
    if (changes_ != changes) at = behind(path);
  }
}

bool Replica::holds_other(std::string_view path, Family family) const {
  for (std::size_t i = 0; i < kFamilies; ++i) {
    const auto other = static_cast<Family>(i);
    if (other == family) continue;
    for (Position at = position(Slot{.path = path, .family = other}); at != places_.end(); at = places_.next(at)) {
      const Record& record = *places_[at];
      if (record.path() != path || family_of(record.kind()) != other) break;
      if (!may_be_erased(other) || record.has_value()) return true;
    }
  }
  return false;
}

std::optional<std::uint64_t> Replica::keep_of(std::string_view path) const {
  Position at = position(Slot{.path = path, .family = Family::kLog});
  const Record* newest = nullptr;
  for (const Record* record :
       take(at, [&](const Record& each) { return each.path() == path && family_of(each.kind()) == Family::kLog; })) {
    if (!newest || age(*newest) < age(*record)) newest = record;
  }
  return newest ? std::optional(newest->number(0)) : std::nullopt;
}

std::vector<Dot> Replica::replaced_by(OpKind kind, std::string_view path, const std::optional<Buffer>& value) const {
  Slot slot{.path = path, .family = family_of(kind)};
  std::vector<Dot> dots;
  if (slot.family != Family::kMulti && slot.family != Family::kSet) return dots;
  if (slot.family == Family::kSet && value) slot.element = *value;
  for (const Record* record : in(slot)) {
    merge_dots(dots, record->replaces());
    merge_dots(dots, std::array{record->dot()});
  }
  return dots;
}

bool Replica::removed_for_good(std::string_view path, const Buffer& element) const {
  const auto record = only_in({.path = path, .family = Family::k2PSet, .element = element});
  return record && is_final(*record);
}

std::optional<OpView> Replica::register_at(std::string_view path) const {
  return only_in({.path = path, .family = Family::kRegister});
}

bool Replica::holds_entries() const {
  constexpr std::string_view kBehindSys = "sys0";  // '0' comes after '/'
  return writes_ > 0 &&
         (!places_[places_.begin()]->path().starts_with("sys/") || position(Slot{.path = kBehindSys}) != places_.end());
}

std::optional<OpView> Replica::counter_of(std::string_view path, NodeId origin) const {
  return only_in({.path = path, .family = Family::kCounter, .origin = origin});
}

Living::Iterator::Iterator(const Replica& replica, std::size_t origin, Replica::Position at)
    : replica_(&replica), changes_(replica.changes_), origin_(origin), at_(at) {
  skip();
}

Living::Iterator::value_type Living::Iterator::operator*() const {
  SEDGE_ASSERT(changes_ == replica_->changes_);
  const Record& record = *replica_->origins_[origin_].second->writes[at_];
  return {record.dot(), record};
}

Living::Iterator& Living::Iterator::operator++() {
  SEDGE_ASSERT(changes_ == replica_->changes_);
  at_ = replica_->origins_[origin_].second->writes.next(at_);
  skip();
  return *this;
}

// To the next one that has a write here or behind.
void Living::Iterator::skip() {
  while (origin_ < replica_->origins_.size() && at_ == replica_->origins_[origin_].second->writes.end()) {
    ++origin_;
    at_ = {};
  }
}

Living::Iterator Living::lower_bound(const Dot& dot) const {
  const auto origin = crdt::lower_bound(replica_->origins_, dot.origin);
  const bool there = origin != replica_->origins_.end() && origin->first == dot.origin;
  return {*replica_, static_cast<std::size_t>(origin - replica_->origins_.begin()),
          there ? Replica::position(*origin->second, dot) : Replica::Position()};
}

Living::Iterator Living::upper_bound(const Dot& dot) const {
  Iterator at = lower_bound(dot);
  if (at != end() && at->first == dot) ++at;
  return at;
}

Living::Iterator Living::find(const Dot& dot) const {
  const Iterator at = lower_bound(dot);
  return at != end() && at->first == dot ? at : end();
}

}  // namespace sedge::crdt
