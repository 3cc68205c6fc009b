#include "mesh/overlay.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include "base/prng.h"

namespace sedge::mesh {

namespace {

constexpr std::size_t kMeshed = 8;            // gateways that are all linked among each other
constexpr std::size_t kMeshBase = 4;          // of the ring that more of them form
constexpr std::size_t kLeavesAGateway = 128;  // its links, and a few to other gateways
constexpr std::size_t kZoneGateways = 2;      // one dies, and the zone hears on
constexpr std::size_t kCircles = 32;          // of the ring; 2^32 members
constexpr Duration kFar = 1h;                 // of whom no round trip is known

std::uint64_t hash(NodeId id, std::uint64_t salt) {
  std::uint64_t state = salt;
  for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
    for (std::size_t b = 0; b < 8; ++b) state ^= std::uint64_t{id.bytes[i + b]} << (8 * b);
    state = splitmix64(state);
  }
  return state;
}

// Both neighbours of self on a circle in the order of ids.
void add_neighbours(NodeId self, const std::vector<NodeId>& circle, std::set<NodeId>& wanted) {
  if (circle.size() < 2) return;
  const auto at = static_cast<std::size_t>(std::ranges::find(circle, self) - circle.begin());
  wanted.insert(circle[(at + 1) % circle.size()]);
  wanted.insert(circle[(at + circle.size() - 1) % circle.size()]);
}

// `circle` is sorted and holds self.
void add_ring(NodeId self, std::vector<NodeId> circle, std::size_t base, std::set<NodeId>& wanted) {
  const auto digit = [base](NodeId id, std::uint64_t i) { return hash(id, i + 1) % base; };
  for (std::size_t i = 0; i < kCircles && circle.size() > 1; ++i) {
    add_neighbours(self, circle, wanted);
    std::erase_if(circle, [&](NodeId id) { return digit(id, i) != digit(self, i); });
  }
}

void add_nearest(const OverlayPolicy& policy, NodeId self, std::span<const OverlayPeer> living,
                 std::set<NodeId>& wanted) {
  std::vector<std::pair<Duration, NodeId>> by_way;
  for (const OverlayPeer& peer : living) {
    if (peer.id == self) continue;
    Duration way = peer.round_trip == Duration::zero() ? kFar : peer.round_trip;
    if (peer.linked) way = way * 3 / 4;  // what is only just nearer is not worth a new link
    by_way.emplace_back(way, peer.id);
  }
  std::ranges::sort(by_way);
  for (std::size_t i = 0; i < std::min(policy.k, by_way.size()); ++i) wanted.insert(by_way[i].second);
}

using Zones = std::map<std::string_view, std::vector<const OverlayPeer*>>;

Zones zones_of(const OverlayPolicy& policy, std::span<const OverlayPeer> living) {
  Zones zones;
  for (const OverlayPeer& peer : living) {
    zones[policy.kind == OverlayKind::kHierarchy ? peer.zone : std::string_view()].push_back(&peer);
  }
  return zones;
}

std::size_t gateways_each(const OverlayPolicy& policy) {
  return policy.kind == OverlayKind::kHierarchy ? kZoneGateways : policy.k;
}

std::vector<NodeId> gateways_of(const OverlayPolicy& policy, const std::vector<const OverlayPeer*>& zone) {
  std::vector<std::tuple<std::uint16_t, std::uint64_t, NodeId>> fit;
  for (const OverlayPeer* peer : zone) fit.emplace_back(peer->fitness, hash(peer->id, 0), peer->id);
  const std::size_t each = gateways_each(policy);
  const std::size_t count = std::min(zone.size(), std::max(each, each * zone.size() / kLeavesAGateway));
  std::ranges::partial_sort(fit, fit.begin() + static_cast<std::ptrdiff_t>(count), std::greater());
  std::vector<NodeId> best;
  for (std::size_t i = 0; i < count; ++i) best.push_back(std::get<NodeId>(fit[i]));
  return best;
}

// Whichever come first in a drawing of its own: who comes or goes moves only those whom it holds.
void add_gateways(NodeId self, std::vector<NodeId> of_zone, std::size_t each, std::set<NodeId>& wanted) {
  const std::uint64_t salt = hash(self, 1);
  std::ranges::sort(of_zone, {}, [&](NodeId id) { return std::pair(hash(id, salt), id); });
  wanted.insert(of_zone.begin(), of_zone.begin() + static_cast<std::ptrdiff_t>(std::min(each, of_zone.size())));
}

void add_star(const OverlayPolicy& policy, NodeId self, std::span<const OverlayPeer> living, std::set<NodeId>& wanted) {
  const std::size_t each = gateways_each(policy);
  const std::set<NodeId> all = gateways(policy, living);
  for (const auto& [name, zone] : zones_of(policy, living)) {
    const std::vector<NodeId> of_zone = gateways_of(policy, zone);
    const auto here = [&](const OverlayPeer* peer) { return peer->id == self; };
    if (std::ranges::none_of(zone, here)) continue;
    if (!all.contains(self)) return add_gateways(self, of_zone, each, wanted);
    for (const OverlayPeer* peer : zone) {  // whoever takes this gateway
      std::set<NodeId> theirs;
      if (!all.contains(peer->id)) add_gateways(peer->id, of_zone, each, theirs);
      if (theirs.contains(self)) wanted.insert(peer->id);
    }
  }
  if (all.size() <= kMeshed) {
    wanted.insert(all.begin(), all.end());
  } else {
    add_ring(self, {all.begin(), all.end()}, kMeshBase, wanted);
  }
}

}  // namespace

Result<OverlayPolicy> parse_overlay(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  std::string all;
  for (const OverlayRow& row : kOverlays) {
    all += fmt::format("{}{}", all.empty() ? "" : ", ", row.name);
    if (row.name != name) continue;
    OverlayPolicy policy{row.kind, row.k};
    if (colon == std::string_view::npos) return policy;
    const std::string_view count = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), policy.k);
    const bool read = error == std::errc() && end == count.data() + count.size();
    if (read && policy.k >= row.least && policy.k <= row.most) return policy;
    return fail(Code::kInvalidArgument, "{}:K takes {} to {} ({}), not '{}'", row.name, row.least, row.most, row.k_is,
                count);
  }
  return fail(Code::kInvalidArgument, "there is no overlay '{}'; there are {}", name, all);
}

std::string overlay_text(const OverlayPolicy& policy) {
  for (const OverlayRow& row : kOverlays) {
    if (row.kind == policy.kind) return fmt::format("{}:{}", row.name, policy.k);
  }
  return "unknown";
}

Status check_zone(std::string_view zone) {
  if (zone.size() <= kZoneBytesMax && !zone.starts_with('@')) return {};
  return fail(Code::kInvalidArgument, "a zone takes up to {} bytes and does not begin with '@', as '{}' does",
              kZoneBytesMax, zone.substr(0, 2 * kZoneBytesMax));
}

std::uint16_t gateway_fitness(bool proven, std::uint16_t rank, bool hears_well) {
  const std::uint16_t carries = std::min(rank, kGatewayRankMax);
  return static_cast<std::uint16_t>((proven ? 64 : 0) + 2 * carries + (hears_well ? 1 : 0));
}

std::string zone_of(const wire::Coordinate& place, Duration side, std::string_view present) {
  const auto us = std::max<double>(1, static_cast<double>(side / 1us));
  const auto square = [us](std::int32_t at) { return std::lround(at / us); };
  const auto name = [](long x, long y) { return fmt::format("@{},{}", x, y); };
  // A node near an edge stays where it was: squares overlap by a quarter on each side.
  const long reach = 1;
  for (long x = square(place.x_us) - reach; x <= square(place.x_us) + reach; ++x) {
    for (long y = square(place.y_us) - reach; y <= square(place.y_us) + reach; ++y) {
      const double off = std::max(std::abs(place.x_us / us - static_cast<double>(x)),
                                  std::abs(place.y_us / us - static_cast<double>(y)));
      if (off <= 0.75 && name(x, y) == present) return std::string(present);
    }
  }
  return name(square(place.x_us), square(place.y_us));
}

std::set<NodeId> gateways(const OverlayPolicy& policy, std::span<const OverlayPeer> living) {
  std::set<NodeId> all;
  for (const auto& [name, zone] : zones_of(policy, living)) {
    for (const NodeId id : gateways_of(policy, zone)) all.insert(id);
  }
  return all;
}

std::set<NodeId> wanted_links(const OverlayPolicy& policy, NodeId self, std::span<const OverlayPeer> living) {
  std::set<NodeId> wanted;
  std::vector<NodeId> ids;
  for (const OverlayPeer& peer : living) ids.push_back(peer.id);
  std::ranges::sort(ids);
  switch (policy.kind) {
    case OverlayKind::kNearest:
      add_nearest(policy, self, living, wanted);
      add_neighbours(self, ids, wanted);
      break;
    case OverlayKind::kRing:
      add_ring(self, std::move(ids), policy.k, wanted);
      break;
    case OverlayKind::kStar:
    case OverlayKind::kHierarchy:
      add_star(policy, self, living, wanted);
      break;
    default:
      break;
  }
  wanted.erase(self);
  return wanted;
}

}  // namespace sedge::mesh
