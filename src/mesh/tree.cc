#include "mesh/tree.h"

#include <algorithm>

namespace sedge::mesh {

namespace {

constexpr Duration kUnmeasured = 100ms;  // a round trip, until there is one
constexpr Duration kHop = 500us;         // what passing on costs beside the way
constexpr Duration kSuspected = 1s;      // how much farther a suspected neighbour seems
constexpr std::size_t kPathMax = 64;     // longer ones are not followed

// On a path a node is the first half of its id: a collision only makes somebody choose another way.
std::uint64_t name_of(NodeId id) {
  std::uint64_t name = 0;
  for (std::size_t i = 0; i < sizeof name; ++i) name |= std::uint64_t{id.bytes[i]} << (8 * i);
  return name;
}

std::uint64_t microseconds(Duration time) { return static_cast<std::uint64_t>(time / 1us); }

// Worth telling: a quarter more or less, and not only noise.
bool differ(std::uint64_t a_us, std::uint64_t b_us) {
  const std::uint64_t most = std::max(a_us, b_us), least = std::min(a_us, b_us);
  return most - least > least / 4 + 2000;
}

}  // namespace

Tree::Tree(Options options) : options_(std::move(options)), own_name_(name_of(options_.self)), root_(options_.self) {
  told_ = position();
}

bool Tree::lives(NodeId id) const {
  if (!options_.state_of || id == options_.self) return true;
  const std::optional<wire::MemberState> state = options_.state_of(id);
  return state && *state <= wire::MemberState::kSuspect;
}

// From its root, through this neighbour. None: there is no way.
std::optional<Duration> Tree::distance_by(NodeId peer, const Link& link) const {
  if (!link.position) return std::nullopt;
  if (std::ranges::find(link.position->path, own_name_) != link.position->path.end()) return std::nullopt;
  if (!lives(link.position->root)) return std::nullopt;
  const Duration measured = options_.round_trip ? options_.round_trip(peer) : Duration::zero();
  Duration way = (measured == Duration::zero() ? kUnmeasured : measured) / 2 + kHop;
  if (options_.state_of && options_.state_of(peer) == wire::MemberState::kSuspect) way += kSuspected;
  return way + static_cast<std::int64_t>(std::min<std::uint64_t>(link.position->distance_us, 1'000'000'000)) * 1us;
}

void Tree::choose(Instant now) {
  const auto present = parent_ ? links_.find(*parent_) : links_.end();
  const std::optional<Duration> by_parent =
      present == links_.end() ? std::nullopt : distance_by(present->first, present->second);
  NodeId root = options_.self;
  std::optional<NodeId> parent;
  Duration distance{};
  if (by_parent && present->second.position->root < root) {
    root = present->second.position->root;
    parent = present->first;
    // What is a little shorter, or only just has become so, is not worth a change that a whole branch is told of.
    distance = now - switched_ < options_.patience ? *by_parent / 2 : *by_parent * 4 / 5;
    distance -= 2ms;
  }
  for (const auto& [peer, link] : links_) {
    const std::optional<Duration> by_peer = distance_by(peer, link);
    if (!by_peer || peer == parent || link.position->root > root) continue;
    const bool nearer = link.position->root < root || (parent && *by_peer < distance);
    if (!nearer) continue;
    root = link.position->root;
    parent = peer;
    distance = *by_peer;
  }
  if (parent != parent_) switched_ = now;
  if (parent == parent_ && by_parent && parent) distance = *by_parent;
  root_ = root;
  parent_ = parent;
  distance_ = parent ? distance : Duration::zero();
  const wire::TreePosition at = position();
  const bool moved = at.root != told_.root || at.path != told_.path;
  if (!moved && !differ(at.distance_us, told_.distance_us)) return;
  to_all_ = true;
  // A way that only takes longer or shorter is told with the next review.
  if (moved) next_tell_ = std::min(next_tell_, now + options_.gather);
}

wire::TreePosition Tree::position() const {
  wire::TreePosition position{root_, microseconds(distance_), {}};
  if (!parent_) return position;
  position.path.push_back(name_of(*parent_));
  const auto& above = links_.at(*parent_).position->path;
  position.path.insert(position.path.end(), above.begin(), above.end());
  return position;
}

void Tree::on_link_up(NodeId peer, Instant now) {
  links_[peer] = {};
  next_tell_ = std::min(next_tell_, now);
  next_review_ = std::min(next_review_, now + options_.review_interval);
}

void Tree::on_link_down(NodeId peer, Instant now) {
  if (links_.erase(peer) > 0) choose(now);
}

void Tree::on_position(NodeId from, const wire::TreePosition& position, Instant now) {
  const auto link = links_.find(from);
  if (link == links_.end()) return;
  link->second.position = position;
  if (position.path.size() > kPathMax) link->second.position.reset();
  choose(now);
}

void Tree::on_member_changed(NodeId id, Instant now) {
  const auto concerned = [id](const auto& row) {
    return row.first == id || (row.second.position && row.second.position->root == id);
  };
  if (std::ranges::any_of(links_, concerned)) choose(now);
}

void Tree::on_timer(Instant now) {
  if (now >= next_review_) {
    next_review_ = links_.empty() ? kNever : now + options_.review_interval;
    choose(now);
    if (to_all_) next_tell_ = now;
  }
  if (now < next_tell_) return;
  next_tell_ = kNever;
  if (to_all_) told_ = position();
  for (auto& [peer, link] : links_) {
    if (to_all_ || !link.told) out_.emplace_back(peer, told_);
    link.told = true;
  }
  to_all_ = false;
}

std::vector<std::pair<NodeId, wire::TreePosition>> Tree::take_positions() { return std::exchange(out_, {}); }

bool Tree::holds(NodeId peer) const {
  const auto link = links_.find(peer);
  if (link == links_.end()) return false;
  if (!link->second.position || link->second.position->root != root_) return true;
  const auto& path = link->second.position->path;
  return peer == parent_ || (!path.empty() && path.front() == own_name_);
}

}  // namespace sedge::mesh
