#include "mesh/causal.h"

#include <algorithm>

namespace sedge::mesh {
namespace {

std::uint64_t ms_since(Instant then, Instant now) { return static_cast<std::uint64_t>((now - then) / 1ms); }

}  // namespace

// --- the publisher's side --------------------------------------------------------------------------------------------

wire::CausalContext CausalOrder::stamp(Instant now) {
  wire::CausalContext context{.epoch = options_.epoch, .sequence = ++sequence_, .causes = {}};
  if (sequence_ > 1) context.previous_age_ms = ms_since(published_, now);
  published_ = now;
  while (causes_.size() > options_.causes_max) {
    causes_.erase(std::ranges::min_element(causes_, {}, [](const auto& each) { return each.second.at; }));
    ++stats_.unnamed;
  }
  for (const auto& [origin, heard] : std::exchange(causes_, {})) {
    context.causes.push_back({origin, heard.epoch, heard.sequence, ms_since(heard.at, now)});
  }
  return context;
}

void CausalOrder::heard(NodeId origin, const wire::CausalContext& context, Instant now) {
  Heard& heard = causes_[origin];
  const auto before = std::pair(heard.epoch, heard.sequence);
  if (before >= std::pair(context.epoch, context.sequence)) return;
  heard = {context.epoch, context.sequence, now};
  if (causes_.size() <= 2 * options_.causes_max) return;  // of a node that hears and does not publish
  causes_.erase(std::ranges::min_element(causes_, {}, [](const auto& each) { return each.second.at; }));
  ++stats_.unnamed;
}

// --- the receiver's side ---------------------------------------------------------------------------------------------

Status CausalOrder::check(NodeId origin, const wire::CausalContext& context) const {
  if (context.sequence == 0) return fail(Code::kDataLoss, "a causal message without a number");
  if (context.causes.size() > options_.causes_max) {
    return fail(Code::kDataLoss, "{} causes of one message", context.causes.size());
  }
  const auto own = [&](const wire::CausalName& name) { return name.origin == origin; };
  if (std::ranges::any_of(context.causes, own)) return fail(Code::kDataLoss, "a message among its own causes");
  return {};
}

std::vector<CausalOrder::Wait> CausalOrder::waits_of(NodeId origin, const wire::CausalContext& context,
                                                     Instant now) const {
  std::vector<Wait> waits;
  const std::uint64_t up_ms = ms_since(started_, now);
  const auto want = [&](const wire::CausalName& name) {
    if (name.sequence == 0 || name.age_ms >= up_ms) return;  // published before we started: not for us
    const Duration age =
        Duration(1ms) * std::min<std::uint64_t>(name.age_ms, static_cast<std::uint64_t>(options_.wait / 1ms));
    const Wait wait{name.origin, name.epoch, name.sequence, now + options_.wait - age};
    if (!reached(wait)) waits.push_back(wait);
  };
  want({origin, context.epoch, context.sequence - 1, context.previous_age_ms});
  for (const wire::CausalName& name : context.causes) want(name);
  return waits;
}

bool CausalOrder::reached(const Wait& wait) const {
  const auto found = reached_.find(wait.origin);
  if (found == reached_.end()) return false;
  return std::pair(found->second.epoch, found->second.sequence) >= std::pair(wait.epoch, wait.sequence);
}

// It is here, and waits itself.
bool CausalOrder::holds(const Wait& wait) const {
  const auto found = names_.find(wait.origin);
  return found != names_.end() && found->second.contains({wait.epoch, wait.sequence});
}

void CausalOrder::reach(NodeId origin, const wire::CausalContext& context, Instant now) {
  if (reached_.size() >= options_.origins_max && !reached_.contains(origin)) {
    reached_.erase(std::ranges::min_element(reached_, {}, [](const auto& each) { return each.second.at; }));
  }
  Reached& there = reached_[origin];
  there.at = now;
  if (std::pair(there.epoch, there.sequence) < std::pair(context.epoch, context.sequence)) {
    there.epoch = context.epoch;
    there.sequence = context.sequence;
  }
  if (const auto waiting = waiting_.find(origin); waiting != waiting_.end()) {
    awake_.insert(waiting->second.begin(), waiting->second.end());
  }
}

bool CausalOrder::admit(NodeId origin, const wire::CausalContext& context, Instant now) {
  const std::vector<Wait> waits = waits_of(origin, context, now);
  const auto still = [&](const Wait& wait) { return wait.until > now || holds(wait); };
  if (std::ranges::any_of(waits, still)) return false;
  if (!waits.empty()) ++stats_.given_up;
  reach(origin, context, now);
  return true;
}

void CausalOrder::hold(CausalMessage message, Instant now) {
  const std::pair number(message.context.epoch, message.context.sequence);
  if (const auto own = names_.find(message.origin); own != names_.end() && own->second.contains(number)) return;
  Held held{.message = std::move(message), .waits = {}, .end = now + 2 * options_.wait};
  const NodeId origin = held.message.origin;
  held.waits = waits_of(origin, held.message.context, now);
  held.bytes = sizeof(Held) + held.message.topic.size() + held.message.payload.size() +
               held.message.context.causes.size() * sizeof(wire::CausalName) + held.waits.size() * sizeof(Wait);
  make_room(origin, held.bytes);
  ++stats_.held;
  held_bytes_ += held.bytes;
  bytes_of_[origin] += held.bytes;
  const HeldId id = ++last_id_;
  names_[origin].emplace(number, id);
  held_.emplace(id, std::move(held));
  awake_.insert(id);
}

// Those held longest go first; of an origin with many, its own.
void CausalOrder::make_room(NodeId origin, std::size_t bytes) {
  const auto give_up = [this](HeldId id) {
    Held& held = held_.at(id);
    release(id);
    held.next = held.waits.size();
    held.gave_up = true;
    awake_.insert(id);
    uncount(held);  // it is as good as gone: the next take_ready() hands it out
  };
  const auto own_bytes = [&] {
    const auto found = bytes_of_.find(origin);
    return found == bytes_of_.end() ? 0 : found->second;
  };
  const auto own = names_.find(origin);
  if (own != names_.end() &&
      (own->second.size() >= options_.held_of_one || own_bytes() + bytes > options_.held_bytes / 4)) {
    std::set<HeldId> oldest;
    for (const auto& [name, id] : own->second) oldest.insert(id);
    for (auto id = oldest.begin(); id != oldest.end(); ++id) {
      if (held_.at(*id).bytes == 0) continue;
      give_up(*id);
      if (own_bytes() + bytes <= options_.held_bytes / 4) break;
    }
  }
  for (auto oldest = held_.begin(); oldest != held_.end() && (held_.size() - awake_.size() >= options_.held_max ||
                                                              held_bytes_ + bytes > options_.held_bytes);
       ++oldest) {
    if (oldest->second.bytes > 0) give_up(oldest->first);
  }
}

void CausalOrder::uncount(Held& held) {
  held_bytes_ -= held.bytes;
  if (const auto found = bytes_of_.find(held.message.origin); found != bytes_of_.end()) {
    if ((found->second -= held.bytes) == 0) bytes_of_.erase(found);
  }
  held.bytes = 0;
}

// No longer registered for what it waits for.
void CausalOrder::release(HeldId id) {
  const Held& held = held_.at(id);
  if (held.next >= held.waits.size()) return;
  const Wait& wait = held.waits[held.next];
  if (const auto found = waiting_.find(wait.origin); found != waiting_.end()) {
    found->second.erase(id);
    if (found->second.empty()) waiting_.erase(found);
  }
  timers_.erase({wait.until, id});
}

// Goes past what is reached or lost; false: registered for the next one that is neither.
bool CausalOrder::over(HeldId id, Held& held, Instant now) {
  for (; held.next < held.waits.size(); ++held.next) {
    Wait& wait = held.waits[held.next];
    if (reached(wait)) continue;
    if (wait.until <= now && holds(wait)) wait.until = held.end;
    if (wait.until <= now) {
      held.gave_up = true;
      continue;
    }
    waiting_[wait.origin].insert(id);
    timers_.emplace(wait.until, id);
    return false;
  }
  return true;
}

std::optional<CausalMessage> CausalOrder::take_ready(Instant now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    awake_.insert(timers_.begin()->second);
    timers_.erase(timers_.begin());
  }
  while (!awake_.empty()) {
    const HeldId id = *awake_.begin();
    awake_.erase(awake_.begin());
    const auto found = held_.find(id);
    release(id);
    if (!over(id, found->second, now)) continue;
    Held held = std::move(found->second);
    held_.erase(found);
    uncount(held);
    const auto names = names_.find(held.message.origin);
    names->second.erase({held.message.context.epoch, held.message.context.sequence});
    if (names->second.empty()) names_.erase(names);
    if (held.gave_up) ++stats_.given_up;
    reach(held.message.origin, held.message.context, now);
    return std::move(held.message);
  }
  return std::nullopt;
}

Instant CausalOrder::next_deadline() const {
  if (!awake_.empty()) return started_;
  return timers_.empty() ? kNever : timers_.begin()->first;
}

}  // namespace sedge::mesh
