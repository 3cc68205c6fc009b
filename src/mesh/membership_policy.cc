// The overlay by a rule that names its links (mesh/overlay.h): keeping what it wants, letting go of the rest, and
// saying of ourselves what the others' rules must know. Whatever changes who lives, or what somebody says of itself,
// makes the choice stale; it is made again at the next round of dials, for all changes of that time at once.
#include <algorithm>

#include "mesh/membership.h"

namespace sedge::mesh {

namespace {

constexpr Duration kChoiceDelay = 100ms;   // changes come together
constexpr Duration kChoiceInterval = 10s;  // round trips change without anybody telling
constexpr Duration kGrace = 10s;           // a new link that nobody wants stays: a newcomer learns the table along it
constexpr Duration kOtherDials = 500ms;    // the smaller id dials a new link, the other waits for it
constexpr Duration kProven = 60s;          // who has run so long goes before who may be starting again and again
constexpr Duration kRoleInterval = 10s;    // we look so often whether we are what we say,
constexpr Duration kRolePause = 30s;       // and say something else after so long at the earliest
constexpr double kHearsBadly = 0.1;        // of packets lost on the mean link,
constexpr double kHearsWell = 0.05;        // and what is good again
constexpr std::size_t kAloneLinks = 1;     // whom the rule names may be out of reach: then anybody will do
constexpr Duration kInVain = 4s;           // the pause after four dials
constexpr Duration kPruneInterval = 1s;

}  // namespace

void Membership::choose_anew(Instant now) {
  if (!names_links() || !started_) return;
  choice_stale_ = true;
  next_dial_ = std::min(next_dial_, now + jittered(kChoiceDelay));
}

std::vector<OverlayPeer> Membership::living() const {
  std::vector<OverlayPeer> peers;
  for (const auto& [id, entry] : entries_) {
    const Member& m = entry.member;
    if (m.state > MemberState::kSuspect) continue;
    OverlayPeer peer{.id = id, .round_trip = {}, .linked = links_.contains(id), .fitness = 0, .zone = {}};
    if (options_.overlay.kind == OverlayKind::kNearest) peer.round_trip = round_trip(id);
    if (m.overlay) {
      peer.fitness = m.overlay->fitness;
      peer.zone = m.overlay->zone;
    }
    peers.push_back(peer);
  }
  return peers;
}

void Membership::choose_links(Instant now) {
  if (!choice_stale_ && now < next_choice_) return;
  choice_stale_ = false;
  next_choice_ = options_.overlay.kind == OverlayKind::kNearest ? now + jittered(kChoiceInterval) : kNever;
  if (entries_.at(options_.self).member.state > MemberState::kSuspect) return;
  const std::vector<OverlayPeer> peers = living();
  const std::set<NodeId> before = std::exchange(chosen_, wanted_links(options_.overlay, options_.self, peers));
  if (options_.overlay.has_gateways()) gateways_ = gateways(options_.overlay, peers);
  for (const NodeId id : chosen_) {
    if (before.contains(id) || id > options_.self) continue;
    Entry& entry = entries_.at(id);
    entry.dial_after = std::max(entry.dial_after, now + kOtherDials);
  }
  tell_wanted();
}

void Membership::tell_wanted() {
  for (auto& [id, link] : links_) {
    const bool wanted = chosen_.contains(id);
    if (link.told == wanted) continue;
    link.told = wanted;
    send(id, wire::MessageType::kMemberLink, wire::MemberLink{wanted});
  }
}

void Membership::dial_chosen(Instant now) {
  for (const NodeId id : chosen_) {
    const auto entry = entries_.find(id);
    if (entry == entries_.end() || links_.contains(id) || entry->second.dial_after > now) continue;
    const auto to_it = [id](const auto& dialling) { return dialling.second.expected == id; };
    if (std::ranges::none_of(dialling_, to_it)) dial_member(entry->second, now);
  }
  if (links_.empty()) dial_strangers(std::min(alive_ - 1, kAloneLinks), now);
}

// Where few have links to many, a member may die together with all its neighbours; nobody who lives would notice, and
// it could be chosen for ever. Whom we call in vain, at each address and once more, we suspect: who lives refutes it.
// Who has no link at all is out of reach itself.
void Membership::note_vain_dial(NodeId id, Instant now) {
  if (links_.empty()) return;
  const auto found = entries_.find(id);
  if (found == entries_.end() || links_.contains(id)) return;
  Entry& entry = found->second;
  if (++entry.failed % (2 * std::max<std::size_t>(1, ways_to(entry).size())) != 0) return;
  suspect(id, options_.self, options_.suspicion, "nobody answers at its addresses", now);
}

bool Membership::overlay_at_rest() const {
  const auto missing = [this](NodeId id) { return !links_.contains(id); };
  const auto surplus = [this](const auto& link) { return !link.second.wanted_there && !chosen_.contains(link.first); };
  return !choice_stale_ && links_.size() <= links_max() && std::ranges::none_of(chosen_, missing) &&
         std::ranges::none_of(links_, surplus);
}

// What neither end wants, and not before what takes its place is there, unless that one has been called in vain. Beyond
// the bound, drawn ones that only the other end wants as well, then any.
void Membership::prune_chosen(Instant now) {
  if (now < next_prune_) return;
  std::erase_if(wanted_, [&](const auto& wanted) { return wanted.second <= now; });
  const bool dialling = std::ranges::any_of(chosen_, [&](NodeId id) {
    const auto entry = entries_.find(id);
    return !links_.contains(id) && entry != entries_.end() && entry->second.dial_pause < kInVain;
  });
  std::vector<NodeId> surplus, others;
  for (const auto& [id, link] : links_) {
    if (wanted_.contains(id)) continue;
    const bool idle = !chosen_.contains(id) && !link.wanted_there;
    if (idle && !dialling && now - link.up >= kGrace) surplus.push_back(id);
    if (!idle) others.push_back(id);
  }
  prng_.shuffle(surplus);
  surplus.resize((surplus.size() + 3) / 4);
  if (links_.size() > links_max()) {
    prng_.shuffle(others);
    std::ranges::stable_sort(others, {}, [&](NodeId id) { return chosen_.contains(id); });
    others.resize(std::min(others.size(), links_.size() - links_max()));
    surplus.insert(surplus.end(), others.begin(), others.end());
  }
  if (surplus.empty()) return;
  next_prune_ = now + jittered(kPruneInterval);
  for (const NodeId one : surplus) out_.hangups.push_back({one, env::LinkDown::kParted});
}

wire::OverlayRole Membership::role(Instant now) const {
  const auto& own = entries_.at(options_.self).member.overlay;
  double lost = 0;
  for (const auto& [id, link] : links_) lost += loss(id) / static_cast<double>(links_.size());
  const bool heard_well = !own || own->fitness % 2 == 1;
  const bool hears_well = lost < (heard_well ? kHearsBadly : kHearsWell);
  wire::OverlayRole role{options_.overlay.kind, static_cast<std::uint16_t>(options_.overlay.k),
                         gateway_fitness(now - started_at_ >= kProven, options_.gateway_rank, hears_well),
                         options_.zone.substr(0, kZoneBytesMax)};
  if (options_.overlay.kind == OverlayKind::kHierarchy && role.zone.empty() && coordinates_.settled()) {
    role.zone = zone_of(*coordinates_.place(), static_cast<std::int64_t>(options_.overlay.k) * 1ms,
                        own ? std::string_view(own->zone) : std::string_view());
  }
  return role;
}

void Membership::review_role(Instant now) {
  next_role_ = now + jittered(kRoleInterval);
  Entry& own = entries_.at(options_.self);
  wire::OverlayRole present = role(now);
  if (leaving_ || own.member.overlay == present) return;
  const bool first_zone = own.member.overlay->zone.empty() && !present.zone.empty();
  if (now - role_changed_ < kRolePause && !first_zone) return;
  role_changed_ = now;
  own.member.overlay = std::move(present);
  ++own.member.incarnation;
  recount(own, now);
  put_self(now);
}

}  // namespace sedge::mesh
