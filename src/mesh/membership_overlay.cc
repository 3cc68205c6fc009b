// The overlay: which links are wanted, and who is dialled for them. Links serve everything (probes, broadcast, state,
// tasks); none is ever opened to find out whether somebody lives.
#include <algorithm>

#include "mesh/membership.h"

namespace sedge::mesh {

namespace {

constexpr std::size_t kDialsMax = 8;       // under way at once
constexpr Duration kDialTime = 6s;         // a dial of which nothing is heard is given up
constexpr Duration kDialPauseMin = 500ms;  // after a failed dial of a living member, doubled each time
constexpr Duration kDialInterval = 250ms;  // while links are too few or too many
constexpr Duration kHintPause = 5s;
constexpr std::size_t kHintsMax = 64;  // addresses remembered
constexpr std::size_t kHintsPerSecond = 5;
constexpr Duration kLonelyHintPause = 500ms;  // who has no link dials one hint after the other
constexpr std::size_t kCallersMax = 40;       // nodes that call whom they draw until it answers
constexpr std::uint64_t kAnswering = 2;       // members, on average, that dial whoever they hear a beacon of
constexpr Duration kTogether = 5s;            // deaths within so long are of one cause,
constexpr std::size_t kMany = 8;              // and many when they are an eighth of the fleet:
constexpr Duration kMixing = 60s;             // for so long after it
constexpr Duration kMixingInterval = 3s;      // links at random are made so often

}  // namespace

// +-25 %: what all nodes do at the same interval must not happen at the same time.
Duration Membership::jittered(Duration about) {
  const auto quarter = static_cast<std::uint64_t>(about.count() / 4);
  return about - Duration(quarter) + Duration(static_cast<std::int64_t>(prng_.below(2 * quarter + 1)));
}

bool Membership::is_own(const env::Endpoint& address) const {
  return std::ranges::find(options_.endpoints, address) != options_.endpoints.end();
}

// Somebody who lives has this address: linked, or with a turn of its own in dial_members().
bool Membership::in_sight(const env::Endpoint& address) {
  const auto linked = [&](const auto& row) { return row.second.address == address; };
  const auto alive = [&](const auto& row) {
    const Entry& entry = row.second;
    const auto& endpoints = entry.member.endpoints;
    return entry.member.state <= MemberState::kSuspect &&
           (entry.seen == address || std::ranges::find(endpoints, address) != endpoints.end());
  };
  if (std::ranges::any_of(links_, linked)) return true;
  // Seeds are asked for again and again: whoever had the address last comes first.
  const auto before = entries_.find(last_in_sight_);
  if (before != entries_.end() && alive(*before)) return true;
  const auto found = std::ranges::find_if(entries_, alive);
  if (found == entries_.end()) return false;
  last_in_sight_ = found->first;
  return true;
}

std::vector<env::Endpoint> Membership::ways_to(const Entry& entry) {
  std::vector<env::Endpoint> ways = entry.member.endpoints;
  if (entry.seen && std::ranges::find(ways, *entry.seen) == ways.end()) ways.push_back(*entry.seen);
  return ways;
}

bool Membership::dial(const env::Endpoint& address, NodeId expected, Instant now) {
  if (address.port == 0 || address.is_unspecified() || is_own(address)) return false;
  if (dialling_.size() >= kDialsMax || dialling_.contains(address)) return false;
  dialling_[address] = {expected, now + kDialTime};
  out_.dials.push_back({address, expected});
  return true;
}

bool Membership::dial_member(Entry& entry, Instant now) {
  std::vector<env::Endpoint> ways = ways_to(entry);
  std::erase_if(ways, [&](const env::Endpoint& way) { return is_own(way); });
  if (ways.empty()) return false;
  const env::Endpoint way = ways[entry.dialled++ % ways.size()];
  if (!dial(way, entry.member.id, now)) return false;
  entry.dial_pause = std::min(std::max(2 * entry.dial_pause, kDialPauseMin), options_.retry_max);
  entry.dial_after = now + jittered(entry.dial_pause);
  return true;
}

void Membership::on_dial_failed(const env::DialFailure& failure, Instant now) {
  const auto dialled = dialling_.find(failure.address);
  const NodeId whom = dialled == dialling_.end() ? NodeId{} : dialled->second.expected;
  dialling_.erase(failure.address);
  if (names_links() || whom == called_) note_vain_dial(whom, now);
  next_dial_ = std::min(next_dial_, now + jittered(kDialInterval));
}

// Where many start at once everybody hears everybody, and where one comes to many, all hear it: if each of them
// dialled, a join would cost what the fleet is large. Who has missed a beacon hears the next one a second later.
void Membership::on_hint(const env::Endpoint& address, Instant now) {
  if (!started_ || leaving_ || superseded_ || in_sight(address)) return;
  if (links_.empty() ? now < next_lonely_hint_ : prng_.below(alive_) >= kAnswering) return;
  if (now - hint_second_ >= 1s) {
    hint_second_ = now;
    hints_this_second_ = 0;
    std::erase_if(hinted_, [&](const auto& hint) { return hint.second <= now; });
  }
  if (hinted_.contains(address) || hinted_.size() >= kHintsMax || hints_this_second_ >= kHintsPerSecond) return;
  ++hints_this_second_;
  next_lonely_hint_ = now + kLonelyHintPause;
  hinted_[address] = now + kHintPause;
  dial(address, {}, now);
}

void Membership::dial_round(Instant now) {
  std::erase_if(dialling_, [&](const auto& d) { return d.second.until <= now; });
  next_dial_ = kNever;
  if (leaving_) return;
  if (names_links()) {
    choose_links(now);
    dial_chosen(now);
  } else {
    dial_strangers(links_wanted(), now);
    dial_called(now);
  }
  if (now >= next_retry_) dial_lost(now);
  prune_overlay(now);
  // Nothing to do is the rule; a board that runs on a battery sleeps on.
  const bool enough = links_.size() >= links_wanted() && links_.size() <= links_max() && called_ == NodeId{};
  const bool rest = names_links() ? overlay_at_rest() : enough;
  next_dial_ = rest && dialling_.empty() ? next_retry_ : now + jittered(kDialInterval);
  if (names_links()) next_dial_ = std::min(next_dial_, next_choice_);
}

// One more than is wanted may stay: two that dial each other at once need not both let go.
std::size_t Membership::links_max() const { return names_links() ? kOverlayLinksMax : options_.overlay.k + 1; }

std::size_t Membership::links_wanted() const {
  return alive_ - 1 <= links_max() ? alive_ - 1 : options_.overlay.k;  // a small fleet is linked throughout
}

// Any members, drawn, until there are so many links.
void Membership::dial_strangers(std::size_t wanted, Instant now) {
  std::size_t have = links_.size() + dialling_.size();
  if (have >= wanted) return;
  std::vector<NodeId> candidates;
  for (const auto& [id, entry] : entries_) {
    if (id == options_.self || links_.contains(id) || entry.member.state > MemberState::kSuspect) continue;
    if (entry.dial_after <= now) candidates.push_back(id);
  }
  prng_.shuffle(candidates);
  for (const NodeId id : candidates) {
    if (have >= wanted) return;
    have += dial_member(entries_[id], now) ? 1 : 0;
  }
}

// One of those who are out of sight: the dead, those remembered from an earlier life, seeds. One at a time, at all its
// addresses (which interface is alive nobody knows), less and less often, for ever: however long a fleet was split,
// somebody on one side calls somebody on the other.
void Membership::dial_lost(Instant now) {
  const bool alone = links_.empty();
  std::vector<std::pair<NodeId, std::vector<env::Endpoint>>> lost(remembered_.begin(), remembered_.end());
  for (const NodeId id : dead_) {
    if (!links_.contains(id)) lost.emplace_back(id, ways_to(entries_.at(id)));
  }
  for (const env::Endpoint& seed : options_.seeds) lost.emplace_back(NodeId{}, std::vector{seed});
  for (auto& [id, ways] : lost) {
    std::erase_if(ways, [&](const env::Endpoint& way) { return is_own(way) || in_sight(way); });
  }
  std::erase_if(lost, [](const auto& one) { return one.second.empty(); });
  prng_.shuffle(lost);
  // Alone, a node has nothing to lose: it calls several, and four times as often.
  if (const std::size_t calls = alone ? 3 : 1; lost.size() > calls) lost.resize(calls);
  for (const auto& [id, ways] : lost) {
    for (const env::Endpoint& way : ways) dial(way, id, now);
  }
  next_retry_ = now + jittered(alone ? retry_pause_ / 4 : retry_pause_);
  retry_pause_ = std::min(retry_pause_ * 3 / 2, options_.retry_max);
}

// Two halves of a fleet may lose sight of each other without a broken link between living members. A link at random
// now and then keeps the overlay mixed; pruning takes another one away. Whoever died with all its neighbours is found
// so too: who does not answer at all is called again until it is suspected. Where many are out of reach and alive, that
// costs the whole fleet a rumour and its refutation, so of a large fleet a part does it.
void Membership::refresh_overlay(Instant now) {
  if (leaving_ || links_.size() + 1 >= alive_) return;
  std::vector<NodeId> others;
  for (const auto& [id, entry] : entries_) {
    if (id != options_.self && !links_.contains(id) && entry.member.state <= MemberState::kSuspect)
      others.push_back(id);
  }
  if (others.empty()) return;
  const NodeId one = others[prng_.below(others.size())];
  if (prng_.below(std::max(alive_, kCallersMax)) < kCallersMax) called_ = one;
  dial_member(entries_[one], now);
}

// Where many die at once, one of them may have had no other neighbours: of five links all five are among a third of the
// fleet once in 250. It cannot wait for the link a minute. A rule that names its links notices when it dials them.
void Membership::mix_after_many_deaths(Instant now) {
  if (names_links()) return;
  if (now - deaths_since_ > kTogether) {
    deaths_since_ = now;
    deaths_ = 0;
  }
  ++deaths_;
  if (deaths_ * kMany < alive_ + deaths_) return;
  mixing_until_ = now + kMixing;
  next_refresh_ = std::min(next_refresh_, now + jittered(kMixingInterval));
}

Duration Membership::until_refresh(Instant now) {
  return jittered(now < mixing_until_ ? kMixingInterval : options_.refresh_interval);
}

void Membership::dial_called(Instant now) {
  const auto entry = entries_.find(called_);
  if (entry == entries_.end() || links_.contains(called_) || entry->second.member.state > MemberState::kAlive) {
    called_ = {};
    return;
  }
  const auto to_it = [this](const auto& dialling) { return dialling.second.expected == called_; };
  if (entry->second.dial_after <= now && std::ranges::none_of(dialling_, to_it)) dial_member(entry->second, now);
}

void Membership::want_link(NodeId id, Duration time, Instant now) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || id == options_.self || leaving_) return;
  Instant& until = wanted_[id];
  until = std::max(until, now + time);
  const auto to_it = [id](const auto& dialling) { return dialling.second.expected == id; };
  if (links_.contains(id) || std::ranges::any_of(dialling_, to_it)) return;
  if (entry->second.member.state <= MemberState::kSuspect) dial_member(entry->second, now);
}

void Membership::prune_overlay(Instant now) {
  if (names_links()) return prune_chosen(now);
  if (links_.size() <= links_max() || now < next_prune_) return;
  next_prune_ = now + jittered(1s);
  std::erase_if(wanted_, [&](const auto& wanted) { return wanted.second <= now; });
  std::vector<NodeId> idle = neighbours();
  std::erase_if(idle, [&](NodeId id) { return wanted_.contains(id); });
  if (idle.empty()) return;
  // Those who have many links themselves miss this one least. A seed that a whole fleet has called has hundreds.
  prng_.shuffle(idle);
  std::ranges::stable_sort(idle, std::greater(), [&](NodeId id) { return links_[id].links; });
  const std::size_t excess = links_.size() - links_max();
  idle.resize(std::min(idle.size(), excess / 4 + 1));
  for (const NodeId one : idle) {
    out_.hangups.push_back({one, env::LinkDown::kParted});
  }
}

}  // namespace sedge::mesh
