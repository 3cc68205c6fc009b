// The table: which claim about a member stands. Order of precedence, greater first:
//   1. boot epoch     a later start replaces all that was said of an earlier one
//   2. instance       two processes in one epoch are a copied home: everybody keeps the same one of them
//   3. incarnation    the subject's own counter: how it refutes
//   4. state          left > dead > suspect > alive
// All nodes that heard the same claims, in any order, keep the same one.
#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "mesh/membership.h"

namespace sedge::mesh {

namespace {

constexpr std::string_view kDomain = "sedge.member.1";
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kEndpointsMax = 16;
constexpr std::size_t kGossipBytesMax = 256u << 10;  // a frame of gossip, well under a frame's limit
constexpr std::size_t kFirstMembers = 16;
constexpr Duration kRevisionPause = 1s;                 // revisions of one member that come sooner are dropped
constexpr Duration kMoveMin = 1ms;                      // of a coordinate: less is noise of whoever measures
constexpr int kTellAgain = 10;                          // turns after which a place that has not moved is told again
constexpr Duration kShrinkPause = 10s;                  // members that died one after the other shrink together
constexpr std::uint64_t kIncarnationsAhead = 1u << 20;  // of a process with our key, a minute of news at most
constexpr std::size_t kRecordBytesAbout = 512;          // record and signature; a chain comes on top

wire::Address on_wire(const env::Endpoint& endpoint) { return {endpoint.address, endpoint.port}; }
env::Endpoint from_wire(const wire::Address& address) { return {address.ip, address.port, 0}; }

template <class In, class Convert>
auto converted(const std::vector<In>& from, Convert convert) {
  std::vector<decltype(convert(from.front()))> to;
  for (const In& item : from) to.push_back(convert(item));
  return to;
}

bool ill(MemberState state) { return state == MemberState::kSuspect || state == MemberState::kDead; }
bool lives(MemberState state) { return state == MemberState::kAlive || state == MemberState::kSuspect; }

bool is_revision(const wire::MemberRecord& record, const Member& m) {
  return record.epoch == m.epoch && record.incarnation == m.incarnation && record.revision > m.revision &&
         lives(m.state);
}

std::uint64_t mix(const Member& member) {
  std::uint64_t hash = member.epoch.value * 0x9E3779B97F4A7C15ULL + member.incarnation.value;
  for (const std::uint8_t byte : member.id.bytes) {
    hash ^= byte;
    hash = splitmix64(hash);
  }
  return hash;
}

}  // namespace

std::uint64_t Membership::digest() const { return digest_; }

// After every change of an entry that the digests cover.
void Membership::recount(Entry& entry, Instant now) {
  const std::uint64_t counts = lives(entry.member.state) ? mix(entry.member) : 0;
  const std::uint64_t change = entry.counted ^ counts;
  if (change == 0) return;
  entry.counted = counts;
  buckets_[wire::bucket_of(entry.member.id)] ^= change;
  digest_ ^= change;
  changed_ = now;
  choose_anew(now);
}

std::size_t Membership::alive() const { return alive_; }

void Membership::sign_self() {
  Entry& own = entries_[options_.self];
  const Member& m = own.member;
  if (coordinates_.settled()) own.member.coordinate = coordinates_.place();
  wire::MemberRecord record{m.id,
                            m.epoch,
                            m.instance,
                            m.incarnation,
                            m.state == MemberState::kLeft,
                            m.name,
                            converted(m.endpoints, on_wire),
                            m.revision,
                            m.coordinate,
                            m.overlay};
  if (record.endpoints.size() > kEndpointsMax) record.endpoints.resize(kEndpointsMax);
  own.proof.record = wire::encode(record);
  own.proof.signature = trust::sign(key_, kDomain, own.proof.record).bytes;
}

void Membership::put_self(Instant now) {
  sign_self();
  spread(options_.self, {options_.self, true, false}, now);
}

// Errors: DataLoss: what no honest node says. Unauthenticated, NotFound: not proved to be the subject's.
Status Membership::verify_record(const wire::MemberRecord& record, const wire::SignedMember& proof) const {
  if (record.name.size() > kNameBytesMax) return fail(Code::kDataLoss, "a name of {} bytes", record.name.size());
  if (record.endpoints.size() > kEndpointsMax) {
    return fail(Code::kDataLoss, "a member with {} endpoints", record.endpoints.size());
  }
  if (record.overlay && record.overlay->zone.size() > kZoneBytesMax) {
    return fail(Code::kDataLoss, "a zone's name of {} bytes", record.overlay->zone.size());
  }
  if (record.coordinate) SEDGE_CHECK(check_coordinate(*record.coordinate));
  if (!proof.certificate_chain.empty() && options_.learn_certificate &&
      !std::ranges::equal(directory_.chain_of(record.id), proof.certificate_chain)) {
    SEDGE_CHECK(options_.learn_certificate(proof.certificate_chain));
  }
  return directory_.verify(record.id, kDomain, proof.record, trust::Signature{proof.signature});
}

Status Membership::apply_record(NodeId from, const wire::SignedMember& proof, Instant now) {
  SEDGE_TRY(const auto record, wire::decode<wire::MemberRecord>(proof.record));
  const auto known = entries_.find(record.id);
  bool revised = false;
  if (known != entries_.end()) {
    const Member& m = known->second.member;
    const bool newer = std::tie(record.epoch, record.incarnation) > std::tie(m.epoch, m.incarnation);
    const bool twin = !m.shrunk && record.epoch == m.epoch && record.instance != m.instance;
    revised = !newer && !twin && record.id != options_.self && is_revision(record, m);
    if (!newer && !twin && !revised) return {};
  }
  if (directory_.revoked(record.id)) return {};
  const Status verified = verify_record(record, proof);
  // Its certificate has not come yet: the digests differ until it does, and a full table brings it.
  if (!verified && verified.error().code == Code::kNotFound) return {};
  SEDGE_CHECK(verified);
  if (record.id == options_.self) {
    on_own_record(record, now);
  } else if (revised) {
    revise(from, known->second, record, proof, now);
  } else {
    accept(from, record, proof, now);
  }
  return {};
}

// Signed by our key, but not by us.
void Membership::on_own_record(const wire::MemberRecord& record, Instant now) {
  Entry& own = entries_[options_.self];
  const Member& m = own.member;
  if (record.instance == m.instance) return refute(record.incarnation, now);  // of us after all
  if (std::tie(record.epoch, record.instance) < std::tie(m.epoch, m.instance)) {
    if (record.epoch == m.epoch) name_clone(own, record);
    return refute(record.incarnation, now);
  }
  superseded_ = true;
  const std::string where = record.endpoints.empty() ? "an unknown address" : from_wire(record.endpoints[0]).text();
  events_.push_back({MemberEvent::Kind::kClone, m.id, m.name, record.epoch, true,
                     fmt::format("a process at {} runs with this node's key in boot epoch {}, we are in {}: this home "
                                 "was copied or restored from a copy; give one of the two a key of its own",
                                 where, record.epoch.value, m.epoch.value)});
}

void Membership::name_clone(Entry& entry, const wire::MemberRecord& record) {
  if (entry.clone_named == record.instance) return;
  entry.clone_named = record.instance;
  const std::string where = record.endpoints.empty() ? "an unknown address" : from_wire(record.endpoints[0]).text();
  event(MemberEvent::Kind::kClone, entry,
        fmt::format("its key runs twice in boot epoch {}, also at {}: a copied home", record.epoch.value, where));
}

void Membership::accept(NodeId from, const wire::MemberRecord& record, const wire::SignedMember& proof, Instant now) {
  const bool known = entries_.contains(record.id);
  if (!known && !make_room(now)) {
    ++refused_;
    return;
  }
  Entry& entry = entries_[record.id];
  Member& m = entry.member;
  const Member before = m;
  const bool twin = known && !m.shrunk && record.epoch == m.epoch && record.instance != m.instance;
  if (twin) name_clone(entry, record);
  if (twin && record.instance < m.instance) return;

  m.id = record.id;
  m.name = record.name;
  m.epoch = record.epoch;
  m.incarnation = record.incarnation;
  m.instance = record.instance;
  m.state = record.left ? MemberState::kLeft : MemberState::kAlive;
  m.endpoints = converted(record.endpoints, from_wire);
  m.revision = record.revision;
  m.coordinate = record.coordinate;
  m.overlay = record.overlay;
  m.shrunk = false;
  entry.proof = {proof.record, proof.signature, {}};
  recount(entry, now);
  suspects_.erase(record.id);
  dead_.erase(record.id);
  remembered_.erase(record.id);

  const bool lived = known && lives(before.state);
  const bool restarted = known && before.epoch != m.epoch;
  if (!lived || restarted || before.state != m.state) m.since = now;
  alive_ += lives(m.state) && !lived ? 1 : 0;
  alive_ -= !lives(m.state) && lived ? 1 : 0;
  if (!lives(m.state)) {
    if (lived) event(MemberEvent::Kind::kLeft, entry, "it said goodbye");
    coordinates_.forget(m.id);
    next_shrink_ = std::min(next_shrink_, now + options_.shrink_after);
  } else if (!lived) {
    event(MemberEvent::Kind::kUp, entry, known ? "it is back" : "new here");
    entry.dial_after = options_.self < m.id ? now : now + 500ms;  // the smaller id dials, the other waits for it
    entry.dial_pause = {};
    if (links_.size() < links_wanted()) next_dial_ = std::min(next_dial_, now + jittered(20ms));
  } else if (restarted || twin) {
    event(MemberEvent::Kind::kRestarted, entry,
          fmt::format("boot epoch {} after {}", m.epoch.value, before.epoch.value));
  } else if (before.endpoints != m.endpoints || before.name != m.name || before.state != m.state) {
    event(MemberEvent::Kind::kUpdated, entry, before.state == m.state ? "new endpoints or name" : "it refuted");
  }
  if (!known || restarted || before.endpoints != m.endpoints) persist(record.id, now);
  spread(record.id, {from, true, !known || restarted || before.shrunk}, now);
}

// The same incarnation with another coordinate: no news of life or death, and the digests do not show it.
void Membership::revise(NodeId from, Entry& entry, const wire::MemberRecord& record, const wire::SignedMember& proof,
                        Instant now) {
  if (now - entry.revised < kRevisionPause) return;  // nobody makes the whole fleet pass on more than that
  entry.revised = now;
  entry.member.revision = record.revision;
  entry.member.coordinate = record.coordinate;
  entry.proof.record = proof.record;
  entry.proof.signature = proof.signature;
  if (record.coordinate) coordinates_.told(record.id, *record.coordinate);
  spread(record.id, {from, true, false, true}, now);
}

// Everybody should know about where we are. Told when it has moved by a quarter of what our neighbours are away, and
// now and then to those who have missed it: a fleet that stands still hardly speaks of it.
void Membership::tell_coordinate(Instant now) {
  const auto members = static_cast<std::int64_t>(alive_);
  const Duration interval = std::max(options_.coordinate_interval, members * options_.coordinate_share);
  if (!std::exchange(turn_drawn_, true)) {  // a fleet that starts as one does not tell as one
    next_tell_ = now + Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(interval.count()))));
    return;
  }
  next_tell_ = now + jittered(interval);
  if (!coordinates_.settled() || leaving_) return;
  Member& own = entries_[options_.self].member;
  const wire::Coordinate place = *coordinates_.place();
  if (own.coordinate && ++turns_untold_ < kTellAgain) {
    const auto& told = *own.coordinate;
    const auto up = std::abs(std::int64_t{told.height_us} - std::int64_t{place.height_us}) * 1us;
    const wire::Coordinate flat{told.x_us, told.y_us, 0, 0};
    const Duration moved = distance(flat, {place.x_us, place.y_us, 0, 0}) + up;
    if (moved < std::max<Duration>(kMoveMin, coordinates_.usual_round_trip() / 4)) return;
  }
  turns_untold_ = 0;
  ++own.revision;
  sign_self();
  spread(options_.self, {options_.self, true, false, true}, now);
}

void Membership::apply_rumour(NodeId from, const wire::Rumour& rumour, Instant now) {
  if (rumour.state == MemberState::kAlive || rumour.state == MemberState::kLeft) return;  // only records say that
  const auto found = entries_.find(rumour.subject);
  if (found == entries_.end()) return;
  const Member& m = found->second.member;
  if (rumour.epoch != m.epoch || rumour.incarnation < m.incarnation) return;
  if (rumour.subject == options_.self) {
    // Nobody heard of an incarnation that we never had; to go past one would use up the numbers (a member that lies).
    if (rumour.incarnation.value - m.incarnation.value <= kIncarnationsAhead) refute(rumour.incarnation, now);
    return;
  }
  if (rumour.incarnation > m.incarnation || rumour.state <= m.state) return;  // the record comes with a table
  // Whom we hear ourselves has to refute, but is not dead: after a split the other side believes all of ours are.
  const auto link = links_.find(rumour.subject);
  const bool heard = link != links_.end() && hears(link->second, now);
  if (rumour.state == MemberState::kSuspect || heard) {
    suspect(rumour.subject, from, options_.suspicion, "others suspect it", now);
  } else {
    declare_dead(rumour.subject, from, "others found it dead", now);
  }
}

void Membership::refute(Incarnation at_least, Instant now) {
  Entry& own = entries_[options_.self];
  if (at_least > own.member.incarnation) own.member.incarnation = at_least;
  ++own.member.incarnation;
  recount(own, now);
  put_self(now);
}

void Membership::suspect(NodeId id, NodeId source, Duration to_refute, std::string why, Instant now) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !lives(found->second.member.state) || leaving_) return;
  Entry& entry = found->second;
  if (entry.member.state == MemberState::kSuspect) {  // better evidence may shorten it
    Instant& until = suspects_[id];
    until = std::min(until, now + to_refute);
    return;
  }
  entry.member.state = MemberState::kSuspect;
  entry.member.since = now;
  suspects_[id] = now + to_refute;
  event(MemberEvent::Kind::kSuspect, entry, std::move(why));
  spread(id, {source, false, false}, now);
}

void Membership::declare_dead(NodeId id, NodeId source, std::string why, Instant now) {
  suspects_.erase(id);
  const auto found = entries_.find(id);
  if (found == entries_.end() || !lives(found->second.member.state)) return;
  Entry& entry = found->second;
  entry.member.state = MemberState::kDead;
  dead_.insert(id);
  entry.member.since = now;
  recount(entry, now);
  --alive_;
  event(MemberEvent::Kind::kDown, entry, std::move(why));
  coordinates_.forget(id);
  next_shrink_ = std::min(next_shrink_, now + options_.shrink_after);
  spread(id, {source, false, false}, now);
  retry_pause_ = options_.retry_min;
  next_retry_ = std::min(next_retry_, now + jittered(retry_pause_));
  next_dial_ = std::min(next_dial_, next_retry_);
  mix_after_many_deaths(now);
}

void Membership::on_revoked(NodeId id, Instant now) {
  if (links_.contains(id)) out_.hangups.push_back({id, env::LinkDown::kRevoked});
  const auto found = entries_.find(id);
  if (found == entries_.end() || id == options_.self) return;
  if (lives(found->second.member.state)) event(MemberEvent::Kind::kDown, found->second, "its certificate was revoked");
  forget(id, now);
}

// Those who died or left a while ago become (id, boot epoch, incarnation).
void Membership::shrink_round(Instant now) {
  next_shrink_ = kNever;
  for (auto& [id, entry] : entries_) {
    const Member& m = entry.member;
    if (lives(m.state) || m.shrunk || id == options_.self) continue;
    const Instant due = m.since + options_.shrink_after;
    if (due <= now) {
      shrink(entry, now);
    } else {
      next_shrink_ = std::min(next_shrink_, std::max(due, now + kShrinkPause));
    }
  }
  trim_remembered(now);
}

void Membership::shrink(Entry& entry, Instant now) {
  Member& m = entry.member;
  if (auto ways = ways_to(entry); !ways.empty()) remembered_[m.id] = std::move(ways);
  Member left;
  left.id = m.id;
  left.epoch = m.epoch;
  left.incarnation = m.incarnation;
  left.state = m.state;
  left.since = m.since;
  left.shrunk = true;
  entry = Entry{};
  entry.member = std::move(left);
  dead_.erase(m.id);
  if (m.state == MemberState::kLeft) remembered_.erase(m.id);  // it went on purpose, for good
  persist(m.id, now);
  if (options_.forget_certificate) options_.forget_certificate(m.id);
}

// Which addresses of the long dead stay is drawn: where half a fleet is lost, each of the others calls other ones. Who
// has lost everybody keeps them all.
void Membership::trim_remembered(Instant now) {
  if (remembered_.size() <= options_.landmarks_max) return;
  if (links_.empty()) {
    next_shrink_ = std::min(next_shrink_, now + options_.shrink_after);
    return;
  }
  std::vector<NodeId> ids;
  for (const auto& [id, ways] : remembered_) ids.push_back(id);
  prng_.shuffle(ids);
  for (std::size_t i = options_.landmarks_max; i < ids.size(); ++i) {
    remembered_.erase(ids[i]);
    persist(ids[i], now);
  }
}

// The longest dead make room for newcomers.
bool Membership::make_room(Instant now) {
  if (entries_.size() < options_.members_max) return true;
  const Entry* oldest = nullptr;
  for (const auto& [id, entry] : entries_) {
    if (lives(entry.member.state) || id == options_.self) continue;
    if (oldest == nullptr || entry.member.since < oldest->member.since) oldest = &entry;
  }
  if (oldest == nullptr) return false;
  forget(oldest->member.id, now);
  return true;
}

void Membership::forget(NodeId id, Instant now) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  alive_ -= lives(found->second.member.state) ? 1 : 0;
  buckets_[wire::bucket_of(id)] ^= found->second.counted;
  digest_ ^= found->second.counted;
  entries_.erase(found);
  choose_anew(now);
  suspects_.erase(id);
  dead_.erase(id);
  news_.erase(id);
  remembered_.erase(id);
  persist(id, now);
}

void Membership::event(MemberEvent::Kind kind, const Entry& entry, std::string detail) {
  events_.push_back({kind, entry.member.id, entry.member.name, entry.member.epoch, false, std::move(detail)});
}

void Membership::persist(NodeId id, Instant now) {
  unwritten_.insert(id);
  // The first addresses at once: a short life must not forget whom it met.
  const bool first = entries_.size() <= kFirstMembers;
  next_write_ = std::min(next_write_, first ? now : now + options_.persist_delay);
}

void Membership::flush_records() {
  next_write_ = kNever;
  for (const NodeId id : std::exchange(unwritten_, {})) {
    const auto entry = entries_.find(id);
    const bool gone = entry == entries_.end() || entry->second.member.shrunk;
    if (gone && remembered_.contains(id)) continue;  // its address is a landmark: what was written of it stays
    out_.records.push_back({kBucket, to_buffer(id.view()), gone ? Buffer{} : wire::encode(entry->second.proof), gone});
  }
}

Status Membership::load(Bytes key, Bytes value) {
  SEDGE_TRY(const NodeId id, id_from_bytes<NodeId>(key));
  SEDGE_TRY(const auto proof, wire::decode<wire::SignedMember>(value));
  const auto record = wire::decode<wire::MemberRecord>(proof.record);
  if (!record) return {};  // of another version: an address less to call
  if (id != options_.self && remembered_.size() < options_.members_max) {
    remembered_[id] = converted(record->endpoints, from_wire);
  }
  return {};
}

// --- spreading ---------------------------------------------------------------------------------------------------

void Membership::spread(NodeId id, News news, Instant now) {
  auto [at, fresh] = news_.try_emplace(id, news);
  if (!fresh) {
    if (at->second.source != news.source) at->second.source = options_.self;  // from two sides: tell everybody
    at->second.record |= news.record;
    at->second.chain |= news.chain;
    at->second.aside &= news.aside;
  }
  next_news_ = std::min(next_news_, now + options_.gossip_delay);
}

wire::Rumour Membership::rumour_of(const Entry& entry) {
  const Member& m = entry.member;
  return {m.id, m.epoch, m.incarnation, m.state};
}

void Membership::flush_news() {
  next_news_ = kNever;
  for (const auto& [neighbour, link] : links_) {
    wire::MemberGossip gossip;
    std::size_t bytes = 0;
    const auto flush = [&, to = neighbour] {
      if (!gossip.records.empty() || !gossip.rumours.empty()) send_gossip(to, gossip);
      gossip = {};
      bytes = 0;
    };
    for (const auto& [id, news] : news_) {
      const auto found = entries_.find(id);
      if (news.source == neighbour || found == entries_.end()) continue;
      const Entry& entry = found->second;
      const bool beside_tree = options_.of_tree && !options_.of_tree(neighbour);
      const bool for_tree = news.chain || news.aside;
      if (news.record && !entry.member.shrunk && !(for_tree && beside_tree)) {
        gossip.records.push_back(entry.proof);
        if (news.chain) gossip.records.back().certificate_chain = to_buffer(directory_.chain_of(id));
        bytes += kRecordBytesAbout + gossip.records.back().certificate_chain.size();
      }
      if (ill(entry.member.state)) {
        gossip.rumours.push_back(rumour_of(entry));
      }
      if (bytes > kGossipBytesMax) flush();
    }
    flush();
  }
  news_.clear();
}

void Membership::send_gossip(NodeId to, const wire::MemberGossip& gossip) {
  send(to, wire::MessageType::kMemberGossip, gossip);
}

namespace {

bool covers(std::uint64_t buckets, NodeId id) { return (buckets >> wire::bucket_of(id) & 1) != 0; }

}  // namespace

wire::MemberSync Membership::summary(std::uint64_t buckets, bool answer) const {
  wire::MemberSync sync{answer, buckets, {}};
  for (const auto& [id, entry] : entries_) {
    if (covers(buckets, id)) sync.members.push_back(rumour_of(entry));
  }
  return sync;
}

void Membership::on_digests(NodeId from, const wire::MemberDigests& digests) {
  std::uint64_t differ = 0;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    differ |= std::uint64_t{buckets_[b] != digests.buckets[b]} << b;
  }
  if (differ != 0) send(from, wire::MessageType::kMemberSync, summary(differ, true));
}

Status Membership::on_sync(NodeId from, const wire::MemberSync& sync, Instant now) {
  std::map<NodeId, const wire::Rumour*> theirs;
  bool lacking = false;
  for (const wire::Rumour& row : sync.members) {
    theirs[row.subject] = &row;
    const auto found = entries_.find(row.subject);
    const Member* m = found == entries_.end() ? nullptr : &found->second.member;
    const auto rank = std::tie(row.epoch, row.incarnation);
    const bool newer = m != nullptr && rank > std::tie(m->epoch, m->incarnation);
    // Who died before we came is nobody to ask for.
    lacking |= newer || (m == nullptr && lives(row.state) && !directory_.revoked(row.subject));
    // Whoever says so may hold no record any more: then this is how we learn that no later life goes on.
    if (newer && row.state == MemberState::kDead && row.subject != options_.self) {
      suspect(row.subject, from, options_.suspicion, "a later life of it is over", now);
    }
    apply_rumour(from, row, now);
  }
  wire::MemberGossip gossip;
  std::size_t bytes = 0;
  for (const auto& [id, entry] : entries_) {
    if (!covers(sync.buckets, id)) continue;
    const Member& m = entry.member;
    const auto row = theirs.find(id);
    const auto rank = std::tie(m.epoch, m.incarnation);
    const bool newer = row == theirs.end() || rank > std::tie(row->second->epoch, row->second->incarnation);
    const bool same = !newer && rank == std::tie(row->second->epoch, row->second->incarnation);
    if (row == theirs.end() && !lives(m.state)) continue;  // they never met, or have forgotten it
    if (newer && !m.shrunk) {
      gossip.records.push_back(entry.proof);
      gossip.records.back().certificate_chain = to_buffer(directory_.chain_of(id));
      bytes += kRecordBytesAbout + gossip.records.back().certificate_chain.size();
    }
    if ((newer || (same && m.state > row->second->state)) && ill(m.state)) {
      gossip.rumours.push_back(rumour_of(entry));
    }
    if (bytes > kGossipBytesMax) {
      send_gossip(from, gossip);
      gossip = {};
      bytes = 0;
    }
  }
  if (!gossip.records.empty() || !gossip.rumours.empty()) send_gossip(from, gossip);
  if (sync.answer && lacking) send(from, wire::MessageType::kMemberSync, summary(sync.buckets, false));
  return {};
}

Status Membership::on_gossip(NodeId from, const wire::MemberGossip& gossip, Instant now) {
  Status first;
  for (const wire::SignedMember& proof : gossip.records) {
    // One bad record does not silence the good ones beside it.
    if (Status applied = apply_record(from, proof, now); !applied && first) first = std::move(applied);
  }
  for (const wire::Rumour& rumour : gossip.rumours) apply_rumour(from, rumour, now);
  return first;
}

}  // namespace sedge::mesh
