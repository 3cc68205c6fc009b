// Membership's public face, the messages and the probing. The table is in membership_table.cc, the overlay in
// membership_overlay.cc: three files of one class, because each is read alone.
#include "mesh/membership.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace sedge::mesh {

namespace {

constexpr std::uint32_t kFirstProbes = 8;
constexpr Duration kYoung = 20s;          // as crdt::FleetClock has it
constexpr Duration kLateness = 150ms;     // being called so much later than asked means that we were stalled
constexpr Duration kSyncPause = 1s;       // between two comparisons with one neighbour because digests differ
constexpr Duration kSyncPauseMax = 3s;    // and while news never ends
constexpr std::size_t kHelpers = 3;       // asked for an indirect probe
constexpr std::size_t kFavoursMax = 256;  // probes for others under way; more are not helped
constexpr Duration kFavourTime = 1s;
constexpr std::uint32_t kLossProbes = 16;  // of a link, those of half a minute
constexpr Duration kLookAgain = 250ms;     // at whether a link is one too many
constexpr Duration kPartedPause = 10s;     // until a chosen link that the other end closed is dialled again

}  // namespace

std::string_view event_name(MemberEvent::Kind kind) {
  constexpr std::string_view kNames[] = {"up", "restarted", "updated", "suspect", "down", "left", "clone"};
  return kNames[static_cast<std::size_t>(kind)];
}

Membership::Membership(Options options, const trust::SecretKey& key, const trust::Directory& directory)
    : options_(std::move(options)),
      key_(key),
      directory_(directory),
      prng_(options_.seed),
      coordinates_(options_.seed) {
  instance_ = prng_.next();
}

void Membership::start(Instant now) {
  SEDGE_ASSERT(!started_);
  started_ = true;
  started_at_ = role_changed_ = now;
  Entry& own = entries_[options_.self];
  own.member.id = options_.self;
  own.member.name = options_.name;
  own.member.epoch = options_.epoch;
  own.member.incarnation = Incarnation{1};
  own.member.instance = instance_;
  own.member.endpoints = options_.endpoints;
  own.member.since = now;
  if (names_links() || options_.overlay != OverlayPolicy{} || !options_.zone.empty()) {
    own.member.overlay = role(now);
    if (options_.overlay.has_gateways()) next_role_ = now;
  }
  sign_self();
  recount(own, now);
  alive_ = 1;
  retry_pause_ = options_.retry_min;
  next_dial_ = now;
  next_retry_ = now;
  next_refresh_ = now + jittered(options_.refresh_interval);
  next_tell_ = now + jittered(options_.coordinate_interval);
  if (!remembered_.empty()) next_shrink_ = now + options_.shrink_after;
}

void Membership::on_link_up(const env::PeerInfo& peer, Instant now) {
  if (peer.id == options_.self) return;  // we dialled ourselves
  Link& link = links_[peer.id];
  link = {};
  link.address = peer.address;
  link.heard = link.probed = link.synced = link.up = now;
  std::erase_if(dialling_, [&](const auto& d) { return d.first == peer.address || d.second.expected == peer.id; });
  if (const auto entry = entries_.find(peer.id); entry != entries_.end()) {
    entry->second.seen = peer.address;
    entry->second.dial_pause = {};
    entry->second.failed = 0;
  }
  next_retry_ = std::max(next_retry_, now + options_.retry_min);
  next_probe_ = std::min(next_probe_, now + jittered(options_.silence_max));
  if (links_.size() > links_max()) next_dial_ = std::min(next_dial_, std::max(now, next_prune_));
  if (names_links()) {
    tell_wanted();
    next_dial_ = std::min(next_dial_, now + jittered(kLookAgain));
  }
  if (peer.dialled_by_us) send(peer.id, wire::MessageType::kMemberDigests, wire::MemberDigests{buckets_});
  // Who woke from a long sleep suspects all neighbours and has nobody left to say so to: they must hear it and refute.
  wire::MemberGossip suspicions;
  for (const auto& [id, until] : suspects_) suspicions.rumours.push_back(rumour_of(entries_.at(id)));
  if (!suspicions.rumours.empty()) send_gossip(peer.id, suspicions);
}

void Membership::on_link_down(NodeId peer, env::LinkDown reason, Instant now) {
  const auto link = links_.find(peer);
  if (link == links_.end()) return;
  const bool parting = link->second.parting;
  links_.erase(link);
  probings_.erase(peer);
  next_dial_ = std::min(next_dial_, now + jittered(100ms));
  if (links_.empty()) next_retry_ = std::min(next_retry_, now + jittered(options_.retry_min / 4));
  if (parting || leaving_) return;
  switch (reason) {
    case env::LinkDown::kTimeout:
      return suspect(peer, options_.self, options_.suspicion, "its link fell silent", now);
    case env::LinkDown::kRefused:
      return suspect(peer, options_.self, options_.suspicion_refused, "nobody listens at its address", now);
    case env::LinkDown::kClosed:
      return suspect(peer, options_.self, options_.suspicion, "it closed its link without a word", now);
    default:  // one link too many, or another takes its place: says nothing about the peer
      if (const auto entry = entries_.find(peer); entry != entries_.end() && chosen_.contains(peer)) {
        entry->second.dial_after = now + jittered(kPartedPause);  // it has more than it can hold
      }
      return;
  }
}

void Membership::on_heard(NodeId peer, Instant now) {
  const auto link = links_.find(peer);
  if (link == links_.end()) return;
  link->second.heard = now;
  probings_.erase(peer);
}

void Membership::on_life(NodeId peer, Instant now) {
  const auto link = links_.find(peer);
  if (link == links_.end()) return;
  if (!probings_.contains(peer)) link->second.their_turn = false;  // it asks
  on_heard(peer, now);
}

void Membership::on_carried(NodeId peer, Instant heard) {
  const auto link = links_.find(peer);
  if (link == links_.end() || heard <= link->second.heard) return;
  link->second.heard = heard;
  const auto probing = probings_.find(peer);
  if (probing != probings_.end() && heard > probing->second.sent) probings_.erase(probing);
}

Status Membership::on_message(NodeId from, wire::MessageType type, Bytes body, Instant now) {
  if (superseded_) return {};
  on_heard(from, now);
  switch (type) {
    case wire::MessageType::kMemberSync: {
      SEDGE_TRY(const auto message, wire::decode<wire::MemberSync>(body));
      return on_sync(from, message, now);
    }
    case wire::MessageType::kMemberDigests: {
      SEDGE_TRY(const auto message, wire::decode<wire::MemberDigests>(body));
      on_digests(from, message);
      return {};
    }
    case wire::MessageType::kMemberGossip: {
      SEDGE_TRY(const auto message, wire::decode<wire::MemberGossip>(body));
      return on_gossip(from, message, now);
    }
    case wire::MessageType::kProbe: {
      SEDGE_TRY(const auto message, wire::decode<wire::Probe>(body));
      return on_probe(from, message, now);
    }
    case wire::MessageType::kProbeAck: {
      SEDGE_TRY(const auto message, wire::decode<wire::ProbeAck>(body));
      return on_ack(from, message, now);
    }
    case wire::MessageType::kProbeRequest: {
      SEDGE_TRY(const auto message, wire::decode<wire::ProbeRequest>(body));
      return on_probe_request(from, message, now);
    }
    case wire::MessageType::kProbeVerdict: {
      SEDGE_TRY(const auto message, wire::decode<wire::ProbeVerdict>(body));
      const auto probing = probings_.find(message.target);
      if (probing != probings_.end() && probing->second.number == message.number) probings_.erase(probing);
      return {};
    }
    case wire::MessageType::kMemberLink: {
      SEDGE_TRY(const auto message, wire::decode<wire::MemberLink>(body));
      const auto link = links_.find(from);
      if (link == links_.end()) return {};
      link->second.wanted_there = message.wanted;
      if (names_links() && !message.wanted) next_dial_ = std::min(next_dial_, now + jittered(kLookAgain));
      return {};
    }
    case wire::MessageType::kLeave: {
      SEDGE_TRY([[maybe_unused]] const auto message, wire::decode<wire::Leave>(body));
      if (const auto link = links_.find(from); link != links_.end()) link->second.parting = true;
      return {};
    }
    default:
      return fail(Code::kInvalidArgument, "message type {} is not membership's", static_cast<int>(type));
  }
}

Status Membership::on_probe(NodeId from, const wire::Probe& probe, Instant now) {
  const std::uint64_t fleet_us = options_.fleet_us ? options_.fleet_us(now) : 0;
  const auto steady_us = static_cast<std::uint64_t>(std::max(now.time_since_epoch(), Duration::zero()) / 1us);
  const auto links = static_cast<std::uint16_t>(links_.size());
  const wire::ProbeAck ack{probe.number, digest_, fleet_us, steady_us, links, coordinates_.place()};
  send(from, wire::MessageType::kProbeAck, ack, !probe.again);
  const auto link = links_.find(from);
  if (link == links_.end()) return {};
  // Who probes compares the digests: once for both.
  link->second.links = probe.links;
  link->second.their_turn = true;
  // Ours waits, once each time, if it would spare no sign of life beside this one; each neighbour's for another time,
  // so that somebody's is always near.
  const bool may_wait = !is_young(now) && !is_to_be_learnt(link->second);
  const bool near = may_wait && probe_due(link->second) < now + options_.silence_max;
  if (near && !std::exchange(link->second.put_off, true)) {
    const auto rest = static_cast<std::uint64_t>((options_.probe_interval_max - 2 * options_.silence_max).count());
    link->second.probed = now - options_.silence_max - Duration(static_cast<std::int64_t>(prng_.below(rest)));
  }
  return {};
}

Status Membership::on_ack(NodeId from, const wire::ProbeAck& ack, Instant now) {
  if (ack.coordinate) SEDGE_CHECK(check_coordinate(*ack.coordinate));
  if (const auto favour = favours_.find(ack.number); favour != favours_.end() && favour->second.target == from) {
    send(favour->second.asker, wire::MessageType::kProbeVerdict, wire::ProbeVerdict{favour->second.number, from});
    favours_.erase(favour);
  }
  const auto link = links_.find(from);
  if (link == links_.end()) return {};
  link->second.links = ack.links;
  if (ack.number == link->second.probe_number && !link->second.answered) {
    link->second.answered = true;
    measure_loss(link->second, link->second.asked_twice);
    const Duration sample = now - link->second.probed;
    Duration& rtt = link->second.rtt;
    rtt = rtt == Duration{} ? sample : rtt + (sample - rtt) / 8;
    Duration& least = link->second.least_rtt;
    least = least == Duration{} ? sample : std::min(least, sample);
    coordinates_.sample(from, ack.coordinate, sample);
    if (ack.fleet_us != 0 && options_.clock_sample) {
      options_.clock_sample(from, {ack.fleet_us, ack.steady_us, sample}, now);
    }
  }
  compare_digest(from, ack.digest, now);
  return {};
}

Status Membership::on_probe_request(NodeId from, const wire::ProbeRequest& request, Instant now) {
  std::erase_if(favours_, [&](const auto& f) { return f.second.until <= now; });
  if (!links_.contains(request.target) || favours_.size() >= kFavoursMax) return {};
  const std::uint64_t number = ++probe_number_;
  favours_[number] = {from, request.number, request.target, now + kFavourTime};
  send(request.target, wire::MessageType::kProbe, probe(number, false), true);
  return {};
}

void Membership::compare_digest(NodeId from, std::uint64_t theirs, Instant now) {
  const auto link = links_.find(from);
  if (link == links_.end() || theirs == digest_) return;
  const Duration since = now - link->second.synced;
  if (since < (now - changed_ < options_.settling ? kSyncPauseMax : kSyncPause)) return;
  link->second.synced = now;
  send(from, wire::MessageType::kMemberDigests, wire::MemberDigests{buckets_});
}

wire::Probe Membership::probe(std::uint64_t number, bool again) const {
  return {number, digest_, again, static_cast<std::uint16_t>(links_.size())};
}

// The mean of the first few, then of about the last kLossProbes.
void Membership::measure_loss(Link& link, bool lost) {
  link.measured = std::min(link.measured + 1, kLossProbes);
  link.lost += ((lost ? 1.0 : 0.0) - link.lost) / link.measured;
}

double Membership::loss(NodeId peer) const {
  const auto link = links_.find(peer);
  if (link == links_.end() || link->second.measured < kLossProbes / 4) return 0;
  return 1 - std::sqrt(1 - std::min(link->second.lost, 1.0));  // a probe and its answer: both must arrive
}

Duration Membership::patience(const Link& link) const {
  if (link.rtt == Duration{}) return options_.probe_timeout_max;
  return std::clamp(4 * link.rtt, options_.probe_timeout_min, options_.probe_timeout_max);
}

// A node that was stalled itself has heard nobody and judged nothing: it gives everybody the lost time back.
void Membership::discount_lateness(Instant now) {
  const Instant due = next_deadline();
  if (due == kNever || now - due < kLateness) return;
  const Duration late = now - due;
  for (auto& [id, probing] : probings_) {
    probing.second_at += late;
    probing.suspect_at += late;
  }
  for (auto& [id, until] : suspects_) until += late;
  for (auto& [id, link] : links_) link.heard = std::min(link.heard + late, now);
}

void Membership::on_timer(Instant now) {
  if (!started_ || superseded_) return;
  discount_lateness(now);
  follow_probes(now);
  judge_suspects(now);
  if (now >= next_probe_) probe_round(now);
  if (now >= next_role_) review_role(now);
  if (now >= next_dial_) dial_round(now);
  if (now >= next_refresh_) {
    refresh_overlay(now);
    next_refresh_ = now + until_refresh(now);
  }
  if (now >= next_shrink_) shrink_round(now);
  if (now >= next_tell_) tell_coordinate(now);
  if (now >= next_news_) flush_news();
  if (now >= next_write_) flush_records();
}

// The first neighbours of a node that starts: the quickest of a few answers says where their clocks are, one alone is
// off by the link's jitter. Later the node has a clock, and what a new link shows has time.
bool Membership::is_to_be_learnt(const Link& link) const { return link.measured < kFirstProbes && is_young(link.up); }

// When a neighbour is to be probed for what it says, its digest and its clock. A fleet that forms agrees on its clock
// as soon as news of it have passed from link to link.
Instant Membership::probe_due(const Link& link) const {
  if (is_to_be_learnt(link)) return link.probed + options_.probe_interval_first;
  return link.probed + (is_young(link.probed) ? options_.silence_max : options_.probe_interval_max);
}

bool Membership::is_young(Instant now) const { return now - started_at_ < kYoung; }

// When it is asked for a sign of life at the latest, if it is not heard before.
Instant Membership::life_due(const Link& link) const {
  const Duration turn = link.their_turn ? options_.turn_wait : Duration{};
  return std::min(link.heard + options_.silence_max + turn, probe_due(link));
}

// Lately enough: nobody has been asked in vain.
bool Membership::hears(const Link& link, Instant now) const {
  return now - link.heard < options_.silence_max + options_.turn_wait;
}

void Membership::probe_round(Instant now) {
  const Instant soon = now + options_.probe_together;
  for (auto& [id, link] : links_) {
    const bool due = probe_due(link) <= soon || life_due(link) <= (link.their_turn ? now : soon);
    if (!due || probings_.contains(id)) continue;
    const bool by_probe = probe_due(link) <= now + options_.silence_max / 2;  // it stands in for a sign of life
    Probing& probing = probings_[id];
    probing.number = ++probe_number_;
    probing.sent = now;
    probing.second_at = now + patience(link);
    probing.suspect_at = probing.second_at + options_.second_chance;
    link.their_turn = !by_probe;
    if (!by_probe) {
      out_.sends.push_back({id, env::Priority::kControl, true, {}});
      continue;
    }
    if (!link.answered && link.probe_number != 0) measure_loss(link, true);
    link.asked_twice = false;
    link.probed = now;
    link.put_off = false;
    link.probe_number = probing.number;
    link.answered = false;
    send(id, wire::MessageType::kProbe, probe(probing.number, false), true);
  }
  next_probe_ = kNever;
  for (const auto& [id, link] : links_) {
    // Who is being asked is due again after the answer; other answers only move a due time on.
    const Duration answer = is_to_be_learnt(link) ? options_.probe_interval_first : options_.silence_max;
    const bool asked = probings_.contains(id);
    const Instant after = asked ? std::max(probe_due(link), now + options_.probe_timeout_max) : life_due(link);
    next_probe_ = std::min(next_probe_, asked ? std::min(after, now + answer) : after);
  }
}

// The second chance: over the reliable stream, and through others.
void Membership::follow_probes(Instant now) {
  std::vector<NodeId> silent;
  for (auto& [id, probing] : probings_) {
    if (now >= probing.suspect_at) {
      silent.push_back(id);
      continue;
    }
    if (now < probing.second_at || probing.second_sent) continue;
    probing.second_sent = true;
    if (const auto link = links_.find(id); link != links_.end() && link->second.probe_number == probing.number) {
      link->second.asked_twice = true;
    }
    send(id, wire::MessageType::kProbe, probe(probing.number, true));
    std::vector<NodeId> helpers;
    for (const auto& [other, link] : links_) {
      if (other != id && !probings_.contains(other)) helpers.push_back(other);
    }
    prng_.shuffle(helpers);
    if (helpers.size() > kHelpers) helpers.resize(kHelpers);
    for (const NodeId helper : helpers) {
      send(helper, wire::MessageType::kProbeRequest, wire::ProbeRequest{probing.number, id});
    }
  }
  for (const NodeId id : silent) {
    probings_.erase(id);
    suspect(id, options_.self, options_.suspicion, "it does not answer probes", now);
  }
}

void Membership::judge_suspects(Instant now) {
  std::vector<NodeId> over;
  for (const auto& [id, until] : suspects_) {
    if (until <= now) over.push_back(id);
  }
  for (const NodeId id : over) {
    const auto link = links_.find(id);
    // Whom we hear ourselves is not dead, whatever was rumoured: its refutation is on the way.
    if (link != links_.end() && hears(link->second, now)) {
      suspects_[id] = now + options_.silence_max;
      continue;
    }
    declare_dead(id, options_.self, "it did not refute the suspicion", now);
  }
}

Instant Membership::next_deadline() const {
  if (!started_ || superseded_) return kNever;
  Instant next =
      std::min({next_probe_, next_news_, next_write_, next_dial_, next_refresh_, next_shrink_, next_tell_, next_role_});
  for (const auto& [id, probing] : probings_) {
    next = std::min(next, probing.second_sent ? probing.suspect_at : probing.second_at);
  }
  for (const auto& [id, until] : suspects_) next = std::min(next, until);
  return next;
}

void Membership::drain(env::Outbox& out) {
  const auto move_to = [](auto& from, auto& to) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
    from.clear();
  };
  move_to(out_.sends, out.sends);
  move_to(out_.dials, out.dials);
  move_to(out_.hangups, out.hangups);
  move_to(out_.records, out.records);
}

std::optional<MemberEvent> Membership::poll() {
  if (events_.empty()) return std::nullopt;
  MemberEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::vector<Member> Membership::members() const {
  std::vector<Member> all;
  for (const auto& [id, entry] : entries_) all.push_back(*find(id));
  return all;
}

std::optional<Member> Membership::find(NodeId id) const {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return std::nullopt;
  Member member = entry->second.member;
  member.linked = links_.contains(id);
  member.endpoints = ways_to(entry->second);
  return member;
}

std::optional<MemberState> Membership::state_of(NodeId id) const {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.member.state;
}

std::vector<NodeId> Membership::neighbours() const {
  std::vector<NodeId> ids;
  for (const auto& [id, link] : links_) ids.push_back(id);
  return ids;
}

Duration Membership::rtt(NodeId peer) const {
  const auto link = links_.find(peer);
  return link == links_.end() ? Duration{} : link->second.rtt;
}

Duration Membership::least_rtt(NodeId peer) const {
  const auto link = links_.find(peer);
  return link == links_.end() ? Duration{} : link->second.least_rtt;
}

Duration Membership::round_trip(NodeId id) const {
  if (const Duration measured = rtt(id); measured != Duration{}) return measured;
  const auto entry = entries_.find(id);
  const auto own = coordinates_.place();
  if (entry == entries_.end() || !entry->second.member.coordinate || !own) return {};
  return distance(*own, *entry->second.member.coordinate);
}

void Membership::leave(Instant now) {
  if (!started_ || leaving_) return;
  leaving_ = true;
  Entry& own = entries_[options_.self];
  ++own.member.incarnation;
  own.member.state = MemberState::kLeft;
  recount(own, now);
  put_self(now);
  flush_news();
  for (const auto& [id, link] : links_) send(id, wire::MessageType::kLeave, wire::Leave{});
}

void Membership::set_endpoints(std::vector<env::Endpoint> endpoints, Instant now) {
  if (endpoints == options_.endpoints) return;
  options_.endpoints = std::move(endpoints);
  if (!started_ || leaving_) return;
  Entry& own = entries_[options_.self];
  own.member.endpoints = options_.endpoints;
  ++own.member.incarnation;
  recount(own, now);
  put_self(now);
}

}  // namespace sedge::mesh
