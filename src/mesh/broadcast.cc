#include "mesh/broadcast.h"

#include <algorithm>
#include <utility>

namespace sedge::mesh {

namespace {

constexpr std::string_view kDomain = "sedge.batch.1";
constexpr std::string_view kPackedDomain = "sedge.packed.1";
constexpr std::size_t kNotedMax = 1024;     // of them, first announced by one neighbour: four liars fill the table
constexpr std::size_t kAnnouncersMax = 8;   // of one batch
constexpr Duration kFresh = 500ms;          // a batch so young is passed on unasked
constexpr Duration kMissingTime = 5s;       // then it is given up
constexpr std::size_t kInVainMax = 32;      // copies along a grafted link, which then carries no more unasked
constexpr std::size_t kAnnounceMax = 1024;  // ids in one HAVE
constexpr std::size_t kGraftMax = 256;      // batches sent for one GRAFT,
constexpr std::size_t kGraftBytesMax = 1u << 20;  // and their bytes; the rest is asked for again
constexpr std::uint64_t kClockSlackMs = 500;      // by which fleet clocks may differ; crdt's ahead_max
constexpr int kHopsMax = 100;
constexpr std::size_t kSlowdownBacklog = env::kLinkQueueBytesMax / 8;     // the rest is for what is under way already
constexpr std::size_t kOverrunBacklog = env::kLinkQueueBytesMax / 8 * 3;  // room is left for who sends little
constexpr Duration kSlowdownTime = 50ms;                                  // 600 KB at 100 Mbit/s
constexpr Duration kSlowdownTimeMax = 500ms;                              // that a neighbour may ask for at a time
constexpr Duration kSlowdownInterval = 20ms;                              // between two to one neighbour
constexpr Duration kBackTime = 3s;  // in which who lives is linked again, if it is linked to us at all
constexpr Duration kAskTime = 1s;   // after a link came up, and between two repairs of what was missed on it

// How many links beside the tree a node takes, so many hops from the origin. Each closes a circle, which costs
// about 1.4 copies; one such link for 20 members in all, those nearest to the origin first, stays under a tenth of a
// copy a node. Where links lose packets the tree waits for their repair, and a second way is worth more: at a loss of
// 17 % and more, one for 5 members.
std::size_t shortcuts(std::size_t members, std::size_t hops, double loss) {
  constexpr std::size_t kRings = 4, kChildren = 5, kMost = 4;
  std::size_t left =
      static_cast<std::size_t>(static_cast<double>(members) * (0.05 + std::clamp(loss - 0.02, 0.0, 0.15)));
  std::size_t ring = 1;
  for (std::size_t hop = 0; hop < kRings; ++hop, ring *= kChildren) {
    const std::size_t each = std::min(kMost, left / ring);
    if (hop == hops) return each;
    left -= each * ring;
  }
  return 0;
}

struct Mark {
  BootEpoch epoch;
  std::uint64_t top = 0;
  template <class V>
  void fields(V& visit) {
    visit("epoch", epoch);
    visit("top", top);
  }
};

bool is_packed(wire::MessageType type) {
  return type == wire::MessageType::kBroadcastPacked || type == wire::MessageType::kBroadcastPackedForAll;
}

bool is_for_all(wire::MessageType type) {
  return type == wire::MessageType::kBroadcastForAll || type == wire::MessageType::kBroadcastPackedForAll;
}

wire::MessageType type_of(Reliability reliability, bool packed) {
  using enum wire::MessageType;
  if (reliability == Reliability::kForAll) return packed ? kBroadcastPackedForAll : kBroadcastForAll;
  return packed ? kBroadcastPacked : kBroadcast;
}

std::string_view domain_of(wire::MessageType type) { return is_packed(type) ? kPackedDomain : kDomain; }

std::uint64_t age_ms(Instant born, Instant now) { return static_cast<std::uint64_t>((now - born) / 1ms); }

}  // namespace

bool Broadcast::Window::contains(const wire::BatchId& id) const {
  return id.epoch == epoch ? seen.contains(id.sequence.value) : id.epoch < epoch;
}

void Broadcast::Window::add(const wire::BatchId& id) {
  if (id.epoch > epoch) {
    epoch = id.epoch;
    seen = SeenWindow();
  }
  seen.add(id.sequence.value);
}

Broadcast::Broadcast(Options options, const trust::SecretKey& key, const trust::Directory& directory)
    : options_(std::move(options)),
      key_(key),
      directory_(directory),
      tree_({.self = options_.self, .state_of = options_.state_of, .round_trip = options_.round_trip}) {}

Status Broadcast::load(Bytes key, Bytes value) {
  SEDGE_TRY(const NodeId id, id_from_bytes<NodeId>(key));
  SEDGE_TRY(const auto mark, wire::decode<Mark>(value));
  windows_[id] = {.epoch = mark.epoch, .seen = SeenWindow(mark.top)};
  return {};
}

void Broadcast::start(Instant now) { started_ = now; }

template <class T>
void Broadcast::send(NodeId to, wire::MessageType type, const T& message) {
  out_.sends.push_back({to, env::Priority::kControl, false, wire::frame(type, message)});
}

Result<Sequence> Broadcast::broadcast(BatchKind kind, Bytes payload, Reliability reliability, env::Priority priority,
                                      Instant now) {
  if (payload.size() > kBatchBytesMax) {
    return fail(Code::kInvalidArgument, "a batch has at most {} bytes, this has {}", kBatchBytesMax, payload.size());
  }
  ++sequence_;
  const auto packed =
      options_.pack && payload.size() >= kPackBytesMin && some_link_is_slow() ? packer_.pack(payload) : std::nullopt;
  if (packed) payload = *packed;
  const auto type = type_of(reliability, packed.has_value());
  const wire::BatchView batch{{options_.self, options_.epoch, sequence_},
                              kind,
                              reliability,
                              static_cast<std::uint8_t>(priority),
                              direct(),
                              options_.fleet_ms ? options_.fleet_ms(now) : 0,
                              payload};
  const Buffer encoded = wire::encode(batch);
  const wire::SignedBatchView message{.batch = encoded, .signature = trust::sign(key_, domain_of(type), encoded).bytes};
  ++stats_.sent;
  if (batch.reliable() && kind == BatchKind::kPubSub) {
    count(options_.self, priority, encoded.size(), now);
    for (Allowance& allowance : allowances_) allowance.spend(encoded.size(), now);
    priority = place_of(options_.self, priority, now);
  }
  pass_on(type, batch, message, options_.self, {.frame = {}, .born = now, .priority = priority}, now);
  return sequence_;
}

void Broadcast::on_link_up(NodeId peer, Instant now) {
  Link& link = links_[peer];
  link = {};
  pace_.on_link_up(peer, now);
  tree_.on_link_up(peer, now);
  if (const auto owed = owed_.find(peer); owed != owed_.end()) owed->second.until = now + kAskTime;
  // What it may have missed while no link was there.
  for (const wire::BatchId& id : cache_order_) {
    const auto cached = cache_.find(id);
    if (cached != cache_.end() && now - cached->second.born <= options_.cache_age_max) link.announce.push_back({id, 0});
  }
  if (!link.announce.empty()) next_announce_ = std::min(next_announce_, now);
}

void Broadcast::on_link_down(NodeId peer, bool broke, Instant now) {
  const auto lost = links_.find(peer);
  if (lost == links_.end()) return;
  links_.erase(lost);
  pace_.on_link_down(peer);
  tree_.on_link_down(peer, now);
  if (broke) owe(peer, now);
  for (auto& [id, missing] : missing_) {
    if (missing.first == peer) missing.first = {};
    std::erase(missing.announcers, peer);
    missing.ask_at = std::min(missing.ask_at, now);
    next_ask_ = std::min(next_ask_, now);
  }
}

void Broadcast::on_member_changed(NodeId id, Instant now) {
  tree_.on_member_changed(id, now);
  if (!is_member(id)) owed_.erase(id);
}

bool Broadcast::is_member(NodeId id) const {
  const auto state = options_.state_of ? options_.state_of(id) : std::nullopt;
  return state && *state <= wire::MemberState::kSuspect;
}

void Broadcast::owe(NodeId peer, Instant now) {
  if (!is_member(peer)) return;
  Owed& owed = owed_[peer];
  if (owed.until <= now) owed.kept_bytes = kept_bytes_;
  owed.until = now + kBackTime;
}

bool Broadcast::owes(Instant now) {
  std::erase_if(owed_, [now](const auto& owed) { return owed.second.until <= now; });
  // The newest that was kept before the link fell is what its queue held, and that is no more than publishers may fill.
  constexpr std::size_t kQueued = env::publish_backlog_max(env::Priority::kUrgent, false) + 4 * kBatchBytesMax;
  const std::size_t room = options_.cache_bytes_max - std::min(options_.cache_bytes_max, kQueued);
  return std::ranges::any_of(owed_, [&](const auto& o) { return kept_bytes_ - o.second.kept_bytes >= room; });
}

bool Broadcast::seen(const wire::BatchId& id) const {
  if (id.origin == options_.self) return true;
  const auto window = windows_.find(id.origin);
  return window != windows_.end() && window->second.contains(id);
}

Status Broadcast::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  switch (type) {
    case wire::MessageType::kBroadcast:
    case wire::MessageType::kBroadcastPacked:
    case wire::MessageType::kBroadcastForAll:
    case wire::MessageType::kBroadcastPackedForAll: {
      Status status = on_batch(from, type, body, now);
      if (!status) ++stats_.refused;
      return status;
    }
    case wire::MessageType::kBroadcastHave: {
      SEDGE_TRY(const auto have, wire::decode<wire::BroadcastHave>(body));
      on_have(from, have, now);
      return {};
    }
    case wire::MessageType::kBroadcastGraft: {
      SEDGE_TRY(const auto graft, wire::decode<wire::BroadcastGraft>(body));
      on_graft(from, graft, now);
      return {};
    }
    case wire::MessageType::kBroadcastPosition: {
      SEDGE_TRY(const auto position, wire::decode<wire::TreePosition>(body));
      tree_.on_position(from, position, now);
      return {};
    }
    case wire::MessageType::kBroadcastSlowdown:
    case wire::MessageType::kBroadcastSlowdownForAll: {
      SEDGE_TRY(const auto slowdown, wire::decode<wire::BroadcastSlowdown>(body));
      if (!links_.contains(from)) return {};
      ++stats_.slowdowns;
      on_slowdown(from, slowdown, type == wire::MessageType::kBroadcastSlowdownForAll, now);
      return {};
    }
    default:
      return fail(Code::kInvalidArgument, "message type {} is not the broadcast's", static_cast<int>(type));
  }
}

void Broadcast::on_slowdown(NodeId from, const wire::BroadcastSlowdown& slowdown, bool for_all, Instant now) {
  const Instant until = now + std::clamp(slowdown.retry_after, Duration::zero(), kSlowdownTimeMax);
  allowances_[1].on_slowdown(until, now);
  if (!for_all && !pace_.slow(from)) allowances_[0].on_slowdown(until, now);  // what a slow one asks slows nobody else
}

Status Broadcast::on_batch(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  SEDGE_TRY(auto message, wire::decode<wire::SignedBatchView>(body));
  SEDGE_TRY(const auto batch, wire::decode<wire::BatchView>(message.batch));
  if (is_for_all(type) != (batch.reliability == Reliability::kForAll)) {
    return fail(Code::kDataLoss, "a batch of another type than it says");
  }
  if (batch.priority >= env::kPriorities) return fail(Code::kDataLoss, "priority {} does not exist", batch.priority);
  if (batch.payload.size() > kBatchBytesMax) return fail(Code::kDataLoss, "a batch of {} bytes", batch.payload.size());
  pace_.on_has(from, batch.id);
  if (seen(batch.id)) {
    if (batch.reliable()) on_came_again(from);
    return {};
  }
  if (directory_.revoked(batch.id.origin)) {
    return fail(Code::kPermissionDenied, "a batch of {}, which is revoked", batch.id.origin.short_hex());
  }
  if (!within_budget(from, batch, now)) return {};
  const bool from_origin = from == batch.id.origin;
  const bool goes_on = links_.size() > 1 && !(from_origin && batch.direct);
  const bool counts = goes_on && batch.reliable() && batch.kind == BatchKind::kPubSub;
  if (!from_origin) SEDGE_CHECK(check_age(from, batch, now));
  const auto priority = static_cast<env::Priority>(batch.priority);
  if (from_origin && counts) count(batch.id.origin, priority, message.batch.size(), now);
  if (from_origin) SEDGE_CHECK(check_room(batch, now));
  if (!from_origin) {
    const Status good = check(type, batch, message);
    if (!good && good.error().code == Code::kNotFound && batch.reliable()) {
      note_missing(batch.id, from, now, now);  // its certificate is on the way with the membership's news: ask again
    }
    SEDGE_CHECK(good);
  }
  Buffer unpacked;
  Bytes payload = batch.payload;
  if (is_packed(type)) {
    SEDGE_TRY(unpacked, unpack(batch.payload, kBatchBytesMax));
    payload = unpacked;
  }
  if (!from_origin && counts) count(batch.id.origin, priority, message.batch.size(), now);  // as far as is known by now
  if (counts && shares_.above(batch.id.origin, now)) {
    const bool by_any = strained(false, from, now);
    const bool by_slow = !by_any && batch.reliability == Reliability::kForAll && strained(true, from, now);
    if (by_any || by_slow) slow_down(from, by_slow, now);
  }
  const auto announced = missing_.find(batch.id);
  // An age that somebody told ahead of the batch would silence it: only what we asked for can be a repair.
  const Instant born = announced == missing_.end() || !announced->second.asked ? now : announced->second.born;
  mark_seen(batch, now);
  ++stats_.delivered;
  stats_.reliable += batch.reliable() ? 1 : 0;
  if (options_.deliver) options_.deliver(batch.kind, batch.id.origin, payload, now);
  if (from_origin && !batch.direct) SEDGE_CHECK(check(type, batch, message));  // it goes on now, under its signature
  message.hops = static_cast<std::uint8_t>(std::min(message.hops + 1, kHopsMax));
  pass_on(type, batch, message, from,
          {.frame = {},
           .born = born,
           .priority = counts ? place_of(batch.id.origin, priority, now) : priority,
           .checked = !from_origin || !batch.direct},
          now);
  return {};
}

void Broadcast::carry_all(Link& link, Instant now) const {
  link.grafted_until = now + options_.graft_time;
  link.in_vain = 0;
}

// A copy more. Who sends it had it from elsewhere, so that it needs our copies no more than we need its.
void Broadcast::on_came_again(NodeId from) {
  ++stats_.duplicates;
  const auto link = links_.find(from);
  if (link != links_.end() && ++link->second.in_vain >= kInVainMax) link->second.grafted_until = {};
}

Status Broadcast::check(wire::MessageType type, const wire::BatchView& batch,
                        const wire::SignedBatchView& message) const {
  return directory_.verify(batch.id.origin, domain_of(type), message.batch, trust::Signature{message.signature});
}

bool Broadcast::check(Cached& cached) {
  if (cached.checked) return true;
  // It was decoded when it came.
  const auto type = static_cast<wire::MessageType>(cached.frame[0]);
  const auto message = wire::decode<wire::SignedBatchView>(Bytes(cached.frame).subspan(1));
  const auto batch = message ? wire::decode<wire::BatchView>(message->batch) : std::unexpected(message.error());
  cached.checked = batch && check(type, *batch, *message);
  return cached.checked;
}

void Broadcast::mark_seen(const wire::BatchView& batch, Instant now) {
  Window& window = windows_[batch.id.origin];
  window.add(batch.id);
  if (const auto missing = missing_.find(batch.id); missing != missing_.end()) forget(missing);
  if (batch.kind != BatchKind::kPubSub) return;  // replicated writes and loads are idempotent
  if (std::exchange(window.marked, false)) unmarked_.push_back(batch.id.origin);
  next_mark_ = std::min(next_mark_, now + options_.mark_interval);
}

// An order of before this node started is not for it, whichever other node sends it again; what its origin itself
// brings, it says now. A clock that is not settled cannot tell: the batch is asked for once more when it can.
Status Broadcast::check_age(NodeId from, const wire::BatchView& batch, Instant now) {
  if (batch.kind != BatchKind::kPubSub || batch.sent_ms == 0 || !options_.fleet_ms) return {};
  const std::uint64_t fleet_ms = options_.fleet_ms(now);
  if (fleet_ms == 0) {
    if (batch.reliable()) note_missing(batch.id, from, now, now);
    return fail(Code::kUnavailable, "the fleet's clock is not known yet: a batch's age cannot be told");
  }
  const std::uint64_t up_ms = age_ms(started_, now);
  if (batch.sent_ms + kClockSlackMs >= fleet_ms || fleet_ms - batch.sent_ms <= up_ms + kClockSlackMs) return {};
  ++stats_.too_old;
  return fail(Code::kFailedPrecondition, "a batch of {} from before this node started", batch.id.origin.short_hex());
}

// Who was asked to slow down and goes on is not taken from: an honest publisher has stopped long before,
// and what it had under way is asked for again. Errors: ResourceExhausted: count it against the publisher.
Status Broadcast::check_room(const wire::BatchView& batch, Instant now) {
  if (batch.kind != BatchKind::kPubSub) return {};
  const bool by_any = pace_.waiting(false, batch.id.origin) > kOverrunBacklog;
  const bool for_all = batch.reliability == Reliability::kForAll;
  if (!by_any && !(for_all && pace_.waiting(true, batch.id.origin) > kOverrunBacklog)) return {};
  if (batch.reliable() && !shares_.above(batch.id.origin, now)) return {};
  ++stats_.shed;
  slow_down(batch.id.origin, !by_any, now);
  if (batch.reliable()) note_missing(batch.id, batch.id.origin, now, now);
  return fail(Code::kResourceExhausted, "{} publishes though it was asked to wait", batch.id.origin.short_hex());
}

bool Broadcast::within_budget(NodeId from, const wire::BatchView& batch, Instant now) {
  if (!options_.budget) return true;
  const BatchBudget left = options_.budget(from, from == batch.id.origin && batch.direct, now);
  if (left != BatchBudget::kEnough) slow_down(from, false, now);
  if (left == BatchBudget::kSpent && batch.reliable()) note_missing(batch.id, from, now, now);
  return left != BatchBudget::kSpent;
}

Broadcast::MissingAt Broadcast::forget(MissingAt missing) {
  if (const auto link = links_.find(missing->second.first); link != links_.end()) --link->second.noted;
  return missing_.erase(missing);
}

bool Broadcast::slow(NodeId peer) const {
  return options_.least_round_trip && options_.least_round_trip(peer) >= kCableRoundTrip;
}

bool Broadcast::some_link_is_slow() const {
  return std::ranges::any_of(links_, [this](const auto& link) { return slow(link.first); });
}

double Broadcast::mean_loss() const {
  if (!options_.loss || links_.empty()) return 0;
  double sum = 0;
  for (const auto& [peer, link] : links_) sum += options_.loss(peer);
  return sum / static_cast<double>(links_.size());
}

std::size_t Broadcast::members() const { return options_.members ? options_.members() : links_.size() + 1; }

// Along the tree, and to the other links by name.
void Broadcast::pass_on(wire::MessageType type, const wire::BatchView& batch, const wire::SignedBatchView& message,
                        NodeId from, Cached cached, Instant now) {
  cached.frame = wire::frame(type, message);
  const bool datagram = !batch.reliable() && cached.frame.size() <= env::kDatagramBytesMax;
  // What came late by a repair goes on by name, with its age: a neighbour that has started since must not take it.
  const bool own = batch.id.origin == options_.self;
  const bool much = batch.kind == BatchKind::kPubSub && shares_.above(batch.id.origin, now);
  const bool sheds = !own && batch.kind == BatchKind::kPubSub && (!batch.reliable() || much);
  const bool fresh = !batch.reliable() || now - cached.born < kFresh;
  const bool may_wait = batch.reliability == Reliability::kReliable && cached.priority > env::Priority::kUrgent;
  const bool direct = batch.direct && own;
  std::size_t beside = batch.reliable() && !batch.direct ? shortcuts(members(), message.hops, mean_loss()) : 0;
  const Duration announce_delay =
      cached.priority <= env::Priority::kUrgent ? options_.urgent_announce_delay : options_.announce_delay;
  for (auto& [peer, link] : links_) {
    if (peer == from || peer == batch.id.origin) continue;
    bool carries = direct || (!batch.direct && (link.grafted_until > now || tree_.holds(peer)));
    if (!carries && beside > 0) {
      carries = true;
      --beside;
    }
    const bool shed = sheds && pace_.waiting_on(peer) > kOverrunBacklog;
    stats_.shed += shed ? 1 : 0;
    if (fresh && carries && may_wait && (shed || pace_.behind(peer))) {
      pace_.note(peer, cached.priority, batch.id, cached.frame.size(), now);
    } else if (fresh && carries && !shed) {
      if (!datagram) pace_.on_sent(peer, cached.frame.size());
      out_.sends.push_back({peer, cached.priority, datagram, cached.frame});
    } else if (batch.reliable() && link.announce.size() < kAnnounceMax) {
      link.announce.push_back({batch.id, 0});
      next_announce_ = std::min(next_announce_, now + announce_delay);
    }
  }
  if (batch.reliable()) keep(batch.id, std::move(cached), now);
}

void Broadcast::keep(const wire::BatchId& id, Cached cached, Instant now) {
  cache_bytes_ += cached.frame.size();
  kept_bytes_ += cached.frame.size();
  cache_.insert_or_assign(id, std::move(cached));
  cache_order_.push_back(id);
  while (!cache_order_.empty()) {
    const auto oldest = cache_.find(cache_order_.front());
    if (cache_bytes_ <= options_.cache_bytes_max && now - oldest->second.born <= options_.cache_age_max) break;
    cache_bytes_ -= oldest->second.frame.size();
    cache_.erase(oldest);
    cache_order_.pop_front();
  }
}

void Broadcast::on_have(NodeId from, const wire::BroadcastHave& have, Instant now) {
  for (const wire::HeldBatch& held : have.batches) {
    pace_.on_has(from, held.id);
    // What was said before we came is not for us: an old order must not be carried out by a robot that restarts.
    const bool before_us = held.age_ms > age_ms(started_, now);
    if (!before_us && !seen(held.id)) {
      note_missing(held.id, from, now - static_cast<std::int64_t>(held.age_ms) * 1ms, now);
    }
  }
}

void Broadcast::note_missing(const wire::BatchId& id, NodeId announcer, Instant born, Instant now) {
  auto found = missing_.find(id);
  if (found == missing_.end()) {
    const auto link = links_.find(announcer);
    if (missing_.size() >= kMissingMax || link == links_.end() || link->second.noted >= kNotedMax) return;
    ++link->second.noted;
    found = missing_.emplace(id, Missing{{}, born, now, now + options_.graft_delay, announcer, false}).first;
    next_ask_ = std::min(next_ask_, found->second.ask_at);
  }
  found->second.born = std::min(found->second.born, born);
  auto& announcers = found->second.announcers;
  if (announcers.size() < kAnnouncersMax && std::ranges::find(announcers, announcer) == announcers.end()) {
    announcers.push_back(announcer);
  }
}

void Broadcast::on_graft(NodeId from, const wire::BroadcastGraft& graft, Instant now) {
  const auto link = links_.find(from);
  if (link == links_.end()) return;
  carry_all(link->second, now);
  if (const auto owed = owed_.find(from); owed != owed_.end()) owed->second.until = now + kAskTime;
  if (pace_.waiting_on(from) > kOverrunBacklog) return;  // it asks again, or another
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < std::min(graft.wanted.size(), kGraftMax); ++i) {
    const auto cached = cache_.find(graft.wanted[i]);
    if (cached == cache_.end()) continue;
    bytes += cached->second.frame.size();
    if (bytes > kGraftBytesMax) return;
    if (!check(cached->second)) {
      ++stats_.refused;
      continue;
    }
    if (cached->second.priority > env::Priority::kUrgent && pace_.behind(from)) {
      pace_.note(from, cached->second.priority, cached->first, cached->second.frame.size(), now);
      continue;
    }
    pace_.on_sent(from, cached->second.frame.size());
    out_.sends.push_back({from, cached->second.priority, false, cached->second.frame});
  }
}

// Sends those left behind what waits for them, as far as there is room.
void Broadcast::catch_up(Instant now) {
  const auto kept = [&](const wire::BatchId& id) {
    const auto cached = cache_.find(id);
    return cached != cache_.end() && now - cached->second.born <= options_.cache_age_max;
  };
  for (const auto& [peer, id] : pace_.take(now, kept)) {
    const Cached& cached = cache_.at(id);
    out_.sends.push_back({peer, cached.priority, false, cached.frame});
  }
}

void Broadcast::on_timer(Instant now) {
  if (now >= next_announce_) flush_announcements(now);
  if (now >= next_ask_) ask_for_missing(now);
  if (now >= next_mark_) persist_marks();
  if (now >= pace_.next_deadline()) catch_up(now);
  tree_.on_timer(now);
}

void Broadcast::count(NodeId origin, env::Priority priority, std::size_t bytes, Instant now) {
  shares_.add(origin, bytes, now);
  each_share_[static_cast<std::size_t>(priority)].add(origin, bytes, now);
}

// On links: who sends much more than others of the same urgency goes behind them.
env::Priority Broadcast::place_of(NodeId origin, env::Priority priority, Instant now) {
  const auto place = static_cast<std::size_t>(priority);
  const bool behind = place + 1 < env::kPriorities && each_share_[place].heavy(origin, now);
  return static_cast<env::Priority>(behind ? place + 1 : place);
}

// Whether there is more to send on than a link carries; slow ones count where it is to be `for_all`.
bool Broadcast::strained(bool for_all, NodeId from, Instant now) {
  return pace_.waiting(for_all, from) > kSlowdownBacklog || allowances_[for_all ? 1 : 0].until() > now || owes(now);
}

// Asks it to publish less for a while, now and then; `for_all`: of what is to wait for slow links.
void Broadcast::slow_down(NodeId neighbour, bool for_all, Instant now) {
  const auto link = links_.find(neighbour);
  if (link == links_.end() || now - link->second.slowdown_said < kSlowdownInterval) return;
  link->second.slowdown_said = now;
  using enum wire::MessageType;
  send(neighbour, for_all ? kBroadcastSlowdownForAll : kBroadcastSlowdown, wire::BroadcastSlowdown{kSlowdownTime});
}

void Broadcast::flush_announcements(Instant now) {
  next_announce_ = kNever;
  for (auto& [peer, link] : links_) {
    std::vector<wire::HeldBatch> announce = std::exchange(link.announce, {});
    std::erase_if(announce, [&](wire::HeldBatch& held) {
      const auto cached = cache_.find(held.id);
      if (cached == cache_.end()) return true;
      held.age_ms = age_ms(cached->second.born, now);
      return false;
    });
    if (announce.size() > kAnnounceMax) announce.erase(announce.begin(), announce.end() - kAnnounceMax);
    if (!announce.empty()) send(peer, wire::MessageType::kBroadcastHave, wire::BroadcastHave{std::move(announce)});
  }
}

void Broadcast::ask_for_missing(Instant now) {
  std::map<NodeId, wire::BroadcastGraft> grafts;
  next_ask_ = kNever;
  for (auto at = missing_.begin(); at != missing_.end();) {
    Missing& missing = at->second;
    if (missing.announcers.empty() || now - missing.since > kMissingTime) {
      ++stats_.given_up;
      at = forget(at);
      continue;
    }
    if (missing.ask_at <= now) {
      const NodeId announcer = missing.announcers.front();
      missing.announcers.pop_front();
      missing.announcers.push_back(announcer);
      missing.ask_at = now + options_.graft_retry;
      missing.asked = true;
      grafts[announcer].wanted.push_back(at->first);
    }
    next_ask_ = std::min(next_ask_, missing.ask_at);
    ++at;
  }
  for (auto& [announcer, graft] : grafts) {
    stats_.grafts += graft.wanted.size();
    if (const auto link = links_.find(announcer); link != links_.end()) carry_all(link->second, now);
    send(announcer, wire::MessageType::kBroadcastGraft, graft);
  }
}

void Broadcast::persist_marks() {
  next_mark_ = kNever;
  for (const NodeId origin : std::exchange(unmarked_, {})) {
    Window& window = windows_[origin];
    window.marked = true;
    out_.records.push_back(
        {kBucket, to_buffer(origin.view()), wire::encode(Mark{window.epoch, window.seen.top()}), false});
  }
}

Instant Broadcast::next_deadline() const {
  return std::min({next_announce_, next_ask_, next_mark_, pace_.next_deadline(), tree_.next_deadline()});
}

void Broadcast::drain(env::Outbox& out) {
  for (const auto& [peer, position] : tree_.take_positions()) {
    send(peer, wire::MessageType::kBroadcastPosition, position);
  }
  std::ranges::move(out_.sends, std::back_inserter(out.sends));
  std::ranges::move(out_.records, std::back_inserter(out.records));
  out_ = {};
}

}  // namespace sedge::mesh
