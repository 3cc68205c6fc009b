#include "crdt/replica.h"

#include <algorithm>
#include <limits>
#include <span>
#include <tuple>

#include "base/prng.h"

namespace sedge::crdt {
namespace {

auto age(const Op& op) { return std::tie(op.stamp, op.dot, op.signature); }

// In a 2P-set a removal comes after any insert.
bool is_final(const Op& op) { return op.kind == OpKind::kRemove2P; }

// Whether `later` ends the life of `earlier`, both of one slot.
bool ends(const Op& later, const Op& earlier) {
  const Family family = family_of(later.kind);
  if (family == Family::kRegister || family == Family::kCounter) return age(later) > age(earlier);
  if (family == Family::k2PSet && is_final(later) != is_final(earlier)) return is_final(later);
  if (family == Family::k2PSet) return age(later) > age(earlier);
  if (later.stamp <= earlier.stamp) return false;
  const auto at = std::ranges::lower_bound(later.replaces, earlier.dot.origin, {}, &Dot::origin);
  return at != later.replaces.end() && at->origin == earlier.dot.origin && earlier.dot <= *at;
}

// Room in memory: the strings, and what the maps around them cost.
std::size_t footprint(const Op& op) {
  return sizeof(Op) + 192 + 2 * op.path.size() + (op.value ? 2 * op.value->size() : 0) +
         op.replaces.size() * sizeof(Dot);
}

// A signature's second half is as good as a hash of the write: it differs for any other write, key or dot. (The first
// half is the signer's random point, which one who equivocates can use twice.)
Digest contribution(const Op& op) {
  Digest out{};
  for (std::size_t word = 0; word < out.size(); ++word) {
    std::uint64_t state = 0;
    std::memcpy(&state, op.signature.bytes.data() + 32 + 8 * word, 8);
    state ^= op.dot.epoch.value * 0x9E3779B97F4A7C15ULL + op.dot.sequence.value;
    out[word] = splitmix64(state);
  }
  return out;
}

std::int64_t clamp_total(Uint128 plus, Uint128 minus) {
  constexpr auto kMax = static_cast<Uint128>(std::numeric_limits<std::int64_t>::max());
  if (plus >= minus) return static_cast<std::int64_t>(std::min(plus - minus, kMax));
  return -static_cast<std::int64_t>(std::min(minus - plus, kMax));
}

}  // namespace

void merge_dots(std::vector<Dot>& all, const std::vector<Dot>& more) {
  for (const Dot& dot : more) {
    const auto at = std::ranges::lower_bound(all, dot.origin, {}, &Dot::origin);
    if (at == all.end() || at->origin != dot.origin) {
      all.insert(at, dot);
    } else {
      *at = std::max(*at, dot);
    }
  }
}

Replica::Slot Replica::slot_of(const Op& op) {
  const Family family = family_of(op.kind);
  if (family == Family::kCounter) return {family, to_buffer(op.dot.origin.view())};
  if (has_elements(family)) return {family, *op.value};
  if (family == Family::kLog) {
    return {family, {static_cast<std::uint8_t>(op.plus >> 8), static_cast<std::uint8_t>(op.plus & 0xff)}};
  }
  return {family, {}};
}

const std::vector<const Op*>* Replica::find(std::string_view path, const Slot& slot) const {
  const auto entry = entries_.find(path);
  if (entry == entries_.end()) return nullptr;
  const auto at = entry->second.find(slot);
  return at == entry->second.end() ? nullptr : &at->second;
}

MergeResult Replica::plan(const Op& op) const {
  MergeResult result;
  const auto same = living_.find(op.dot);
  if (same != living_.end()) {
    if (same->second.signature == op.signature) return {Merge::kDuplicate, {}};
    result.outcome = Merge::kConflict;
    if (same->second.signature > op.signature) return result;
    result.ended.push_back(op.dot);
  }
  const auto* const slot = find(op.path, slot_of(op));
  if (!slot) return result;
  if (op.kind == OpKind::kAppend) return plan_log(op, *slot, std::move(result));
  for (const Op* other : *slot) {
    if (other->dot == op.dot) continue;
    if (ends(*other, op)) return {Merge::kReplaced, {}};
    if (ends(op, *other)) result.ended.push_back(other->dot);
  }
  return result;
}

MergeResult Replica::plan_log(const Op& op, const std::vector<const Op*>& slot, MergeResult result) {
  std::vector<const Op*> entries = {&op};
  for (const Op* other : slot) {
    if (other->dot == op.dot) continue;
    const bool older = age(*other) < age(op);
    if (!other->value && !older) return {Merge::kReplaced, {}};
    if (!op.value && older) result.ended.push_back(other->dot);
    if (op.value && other->value) entries.push_back(other);
  }
  if (entries.size() <= op.plus) return result;
  const auto newer = [](const Op* a, const Op* b) { return age(*a) > age(*b); };
  std::ranges::nth_element(entries, entries.begin() + static_cast<std::ptrdiff_t>(op.plus), newer);
  for (const Op* over : std::span(entries).subspan(op.plus)) {
    if (over == &op) return {Merge::kReplaced, {}};
    result.ended.push_back(over->dot);
  }
  return result;
}

// The fleet's own entries have a sixteenth more: they find room when all else is full.
Replica::Limits Replica::room_for(const Op& op) const {
  Limits room = limits_;
  if (!op.path.starts_with("sys/")) return room;
  room.writes_max += room.writes_max / 16;
  room.bytes_max += room.bytes_max / 16;
  return room;
}

Status Replica::check_room(const Op& op, const MergeResult& planned) const {
  std::size_t bytes_freed = 0;
  for (const Dot& dot : planned.ended) bytes_freed += footprint(living_.at(dot));
  const std::size_t writes = living_.size() - planned.ended.size() + 1;
  const std::size_t bytes = bytes_ - bytes_freed + footprint(op);
  const bool shrinks = writes <= living_.size() && bytes <= bytes_;
  const Limits room = room_for(op);
  if (!shrinks && (writes > room.writes_max || bytes > room.bytes_max)) {
    return fail(Code::kResourceExhausted,
                "no room for '{}': {} writes in {} bytes are held, {} in {} are allowed; erase some", op.path,
                living_.size(), bytes_, limits_.writes_max, limits_.bytes_max);
  }
  return check_part(op, planned);
}

// The same question for what its origin holds.
Status Replica::check_part(const Op& op, const MergeResult& planned) const {
  const auto found = origins_.find(op.dot.origin);
  const Origin held = found == origins_.end() ? Origin{} : found->second;
  std::size_t writes = held.writes + 1;
  std::size_t bytes = held.bytes + footprint(op);
  for (const Dot& dot : planned.ended) {
    if (dot.origin != op.dot.origin) continue;
    --writes;
    bytes -= footprint(living_.at(dot));
  }
  const bool shrinks = writes <= held.writes && bytes <= held.bytes;
  const Limits room = room_for(op);
  if (shrinks || (writes <= room.writes_max / room.origin_part && bytes <= room.bytes_max / room.origin_part))
    return {};
  return fail(Code::kResourceExhausted,
              "no room for '{}': its writer holds {} writes in {} bytes, its part of the fleet's", op.path, held.writes,
              held.bytes);
}

Status Replica::check_room(const Op& op) const {
  const MergeResult planned = plan(op);
  return planned.outcome == Merge::kMerged ? check_room(op, planned) : Status{};
}

Result<MergeResult> Replica::apply(Op op) {
  MergeResult result = plan(op);
  const bool lives = result.outcome == Merge::kMerged || (result.outcome == Merge::kConflict && !result.ended.empty());
  if (!lives) return result;
  SEDGE_CHECK(check_room(op, result));
  for (const Dot& dot : result.ended) erase(dot);
  insert(std::move(op));
  return result;
}

bool Replica::ends_something(const Op& op) const {
  return std::ranges::any_of(plan(op).ended, [this](const Dot& dot) { return !is_tombstone(living_.at(dot)); });
}

bool Replica::withdraw(const Dot& dot) {
  if (!living_.contains(dot)) return false;
  erase(dot);
  return true;
}

void Replica::insert(Op op) {
  const Dot dot = op.dot;
  const Op& kept = living_.emplace(dot, std::move(op)).first->second;
  entries_[kept.path][slot_of(kept)].push_back(&kept);
  account(kept, true);
}

void Replica::erase(const Dot& dot) {
  const auto at = living_.find(dot);
  const Op& op = at->second;
  account(op, false);
  const auto entry = entries_.find(op.path);
  const auto slot = entry->second.find(slot_of(op));
  std::erase(slot->second, &op);
  if (slot->second.empty()) entry->second.erase(slot);
  if (entry->second.empty()) entries_.erase(entry);
  living_.erase(at);
}

void Replica::account(const Op& op, bool add) {
  const Digest part = contribution(op);
  Origin& origin = origins_[op.dot.origin];
  for (std::size_t word = 0; word < part.size(); ++word) {
    const std::uint64_t change = add ? part[word] : 0 - part[word];
    digest_[word] += change;
    origin.digest[word] += change;
  }
  origin.writes = add ? origin.writes + 1 : origin.writes - 1;
  origin.bytes = add ? origin.bytes + footprint(op) : origin.bytes - footprint(op);
  bytes_ = add ? bytes_ + footprint(op) : bytes_ - footprint(op);
  if (!is_tombstone(op)) return;
  if (add) {
    tombstones_.emplace(std::pair(op.stamp, op.dot), part);
  } else {
    tombstones_.erase({op.stamp, op.dot});
  }
}

Digest Replica::digest_of(NodeId origin) const {
  const auto at = origins_.find(origin);
  return at == origins_.end() ? Digest{} : at->second.digest;
}

Digest Replica::digest_without(Hlc upto) const {
  Digest digest = digest_;
  for (auto at = tombstones_.begin(); at != tombstones_.end() && at->first.first < upto; ++at) {
    for (std::size_t word = 0; word < digest.size(); ++word) digest[word] -= at->second[word];
  }
  return digest;
}

bool Replica::has_tombstone(Hlc from, Hlc upto) const {
  const auto at = tombstones_.lower_bound({from, Dot{}});
  return at != tombstones_.end() && at->first.first < upto;
}

// Whether no write at the path tells which of several values is read.
bool Replica::holds_one(std::string_view path) const {
  const auto entry = entries_.find(path);
  if (entry == entries_.end()) return true;
  const Slot& first = entry->second.begin()->first;
  const Slot& last = entry->second.rbegin()->first;
  return first.first == Family::kLog ? first == last : first.first == last.first;
}

std::vector<Dot> Replica::collectable(Hlc upto, std::size_t max, const std::function<bool(const Dot&)>& keep) const {
  std::vector<Dot> dots;
  for (const auto& [key, part] : tombstones_) {
    if (key.first >= upto || dots.size() >= max) break;
    if (!keep(key.second) && holds_one(living_.at(key.second).path)) dots.push_back(key.second);
  }
  return dots;
}

namespace {

bool may_be_erased(Family family) { return family != Family::kCounter && !has_elements(family); }

// All living writes of one family at one path.
struct FamilyView {
  std::vector<const Op*> ops;
  const Op* newest = nullptr;

  void add(const Op* op) {
    ops.push_back(op);
    if (!newest || age(*newest) < age(*op)) newest = op;
  }
};

std::optional<Value> value_of(FamilyView view) {
  Value value{.family = family_of(view.newest->kind),
              .values = {},
              .dots = {},
              .stamp = view.newest->stamp,
              .writer = view.newest->dot.origin};
  if (value.family == Family::kLog) {
    value.keep = view.newest->plus;
    std::erase_if(view.ops, [&](const Op* op) { return op->plus != value.keep; });
  }
  std::ranges::sort(view.ops, [](const Op* a, const Op* b) { return age(*a) < age(*b); });
  Uint128 plus = 0;
  Uint128 minus = 0;
  for (const Op* op : view.ops) {
    plus += op->plus;
    minus += op->minus;
    if (!op->value || op->kind == OpKind::kRemove || is_final(*op)) continue;
    value.values.push_back(*op->value);
    if (value.family == Family::kLog) value.dots.push_back(op->dot);
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

template <class Slots>
std::optional<Value> read_slots(const Slots& slots) {
  std::array<FamilyView, kFamilies> families;
  for (const auto& [slot, ops] : slots) {
    for (const Op* op : ops) families.at(static_cast<std::size_t>(slot.first)).add(op);
  }
  FamilyView* chosen = nullptr;
  for (FamilyView& view : families) {
    if (view.newest && (!chosen || age(*chosen->newest) < age(*view.newest))) chosen = &view;
  }
  return chosen ? value_of(std::move(*chosen)) : std::nullopt;
}

}  // namespace

std::optional<Value> Replica::read(std::string_view path) const {
  const auto entry = entries_.find(path);
  return entry == entries_.end() ? std::nullopt : read_slots(entry->second);
}

void Replica::for_each(std::string_view prefix,
                       const std::function<void(const std::string&, const Value&)>& visit) const {
  for (auto at = entries_.lower_bound(prefix); at != entries_.end() && at->first.starts_with(prefix); ++at) {
    if (const auto value = read_slots(at->second)) visit(at->first, *value);
  }
}

bool Replica::holds_other(std::string_view path, Family family) const {
  const auto entry = entries_.find(path);
  if (entry == entries_.end()) return false;
  const auto has_value = [](const Op* op) { return op->value.has_value(); };
  for (std::size_t i = 0; i < kFamilies; ++i) {
    const auto other = static_cast<Family>(i);
    auto slot = entry->second.lower_bound({other, {}});
    for (; other != family && slot != entry->second.end() && slot->first.first == other; ++slot) {
      if (!may_be_erased(other) || std::ranges::any_of(slot->second, has_value)) return true;
    }
  }
  return false;
}

std::optional<std::uint64_t> Replica::keep_of(std::string_view path) const {
  const auto entry = entries_.find(path);
  if (entry == entries_.end()) return std::nullopt;
  const Op* newest = nullptr;
  for (auto slot = entry->second.lower_bound({Family::kLog, {}}); slot != entry->second.end(); ++slot) {
    for (const Op* op : slot->second) {
      if (!newest || age(*newest) < age(*op)) newest = op;
    }
  }
  return newest ? std::optional(newest->plus) : std::nullopt;
}

std::vector<Dot> Replica::replaced_by(OpKind kind, std::string_view path, const std::optional<Buffer>& value) const {
  const Family family = family_of(kind);
  std::vector<Dot> dots;
  if (family != Family::kMulti && family != Family::kSet) return dots;
  if (const auto* slot = find(path, {family, family == Family::kSet ? value.value_or(Buffer{}) : Buffer{}})) {
    for (const Op* op : *slot) {
      merge_dots(dots, op->replaces);
      merge_dots(dots, {op->dot});
    }
  }
  return dots;
}

bool Replica::removed_for_good(std::string_view path, const Buffer& element) const {
  const auto* slot = find(path, {Family::k2PSet, element});
  return slot && is_final(*slot->front());
}

const Op* Replica::register_at(std::string_view path) const {
  const auto* slot = find(path, {Family::kRegister, {}});
  return slot ? slot->front() : nullptr;
}

bool Replica::holds_entries() const {
  if (entries_.empty()) return false;
  constexpr std::string_view kBehindSys = "sys0";  // '0' comes after '/'
  return !entries_.begin()->first.starts_with("sys/") || entries_.lower_bound(kBehindSys) != entries_.end();
}

const Op* Replica::counter_of(std::string_view path, NodeId origin) const {
  const auto* slot = find(path, {Family::kCounter, to_buffer(origin.view())});
  return slot ? slot->front() : nullptr;
}

}  // namespace sedge::crdt
