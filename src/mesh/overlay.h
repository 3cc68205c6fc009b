// Which links a node wants: one rule for the fleet, named by configuration.
//
// Problem: a partial view of five random links suits a fleet of which nobody knows anything. Eight boards on one switch
// want all their links; boards behind a thin uplink few of them across it; boards on batteries none but one to a
// gateway on mains.
//
// Idea: a rule is a pure function of what everybody knows of everybody (the member table). Both ends compute it from
// the same facts, so that a link is wanted by both or by none, and nothing is elected: a gateway that dies is out of
// the table, and the next best follows in the same moment everywhere. Where tables differ for a while, or one end's
// rule is another, each end says whether it wants the link (MemberLink), and a link that one end wants stays. Two
// rules only say how many (partial, full): any members will do. The others name them:
//   nearest    the k with the shortest round trip, measured or told by coordinates, and the two next in the order of
//              ids: ids are hashes, so that these are anywhere, and the circle that they form holds the fleet together
//   ring       a skip graph (Aspnes, Shah 2003): circles by id. All are on the first, those whose hashes share their
//              first i digits to the base k on the i-th; each node has its two neighbours on every circle that it is
//              on. The way between two is logarithmic, and who comes or goes changes only its own links
//   star       k gateways hold everybody. Of more than 128 members there is one more for each 128 links to them; each
//              takes k of them, by rendezvous hashing. Gateways are linked among each other, all of up to eight, else
//              as a ring
//   hierarchy  in each zone a star, of two gateways a member; the gateways of all zones are linked as above. A node is
//              of the zone that it is configured for, else of the square of k ms where its coordinates place it;
//              before it has any, of the zone without a name
// Gateways are those with the greatest fitness: who has run for a minute before who has not; then by what the machine
// is said to carry; then who hears its neighbours well; then by a hash of the id.
//
// Rejected: fingers by rank in the order of ids (whoever comes shifts a third of the fleet by one); Chord's fingers (a
// node before a wide gap is everybody's); letting each zone vote (a vote needs the links that it is to choose).
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "wire/membership_messages.h"

namespace sedge::mesh {

using wire::OverlayKind;

struct OverlayPolicy {
  OverlayKind kind = OverlayKind::kPartial;
  std::size_t k = 5;  // what it counts, the table says
  friend bool operator==(const OverlayPolicy&, const OverlayPolicy&) = default;

  // Whether it names its links, rather than says how many it wants.
  bool names_links() const { return kind >= OverlayKind::kNearest; }
  bool has_gateways() const { return kind >= OverlayKind::kStar; }
};

// The table of policies: name, and K of "name:K".
struct OverlayRow {
  OverlayKind kind;
  std::string_view name;
  std::size_t k, least, most;
  std::string_view k_is;
};
inline constexpr OverlayRow kOverlays[] = {
    {OverlayKind::kPartial, "partial", 5, 2, 64, "links; all, among up to two more members"},
    {OverlayKind::kFull, "full", 64, 2, 250, "links; all, among up to two more members"},
    {OverlayKind::kNearest, "nearest", 4, 1, 32, "nearest members; two more by id"},
    {OverlayKind::kRing, "ring", 4, 2, 64, "base of the circles; two links on each"},
    {OverlayKind::kStar, "star", 2, 1, 8, "gateways a member"},
    {OverlayKind::kHierarchy, "hierarchy", 20, 1, 1000, "ms across a zone, without configured zones"}};

// "ring", "nearest:6". Errors: InvalidArgument: says what there is.
Result<OverlayPolicy> parse_overlay(std::string_view text);
std::string overlay_text(const OverlayPolicy& policy);

inline constexpr std::size_t kOverlayLinksMax = 256;  // of a policy that names them; beyond, drawn ones are closed
inline constexpr std::size_t kZoneBytesMax = 32;
Status check_zone(std::string_view zone);  // of a configuration: those that begin with '@' come from coordinates
inline constexpr std::uint16_t kGatewayRankMax = 15;

// A living member, as a rule sees it.
struct OverlayPeer {
  NodeId id;
  Duration round_trip{};  // from the node whose links are wanted; zero: not known
  bool linked = false;
  std::uint16_t fitness = 0;
  std::string_view zone;
};

// What a machine says of itself: it has run for a while; 0 to kGatewayRankMax for what it can carry; its links are
// good.
std::uint16_t gateway_fitness(bool proven, std::uint16_t rank, bool hears_well);
// The square of `side` around a place; `present` stays while the place is not well outside of it.
std::string zone_of(const wire::Coordinate& place, Duration side, std::string_view present);

// Of all living members, the gateways. Requires: policy.has_gateways().
std::set<NodeId> gateways(const OverlayPolicy& policy, std::span<const OverlayPeer> living);
// Whom `self` wants a link to. Requires: policy.names_links(); self is among the living.
std::set<NodeId> wanted_links(const OverlayPolicy& policy, NodeId self, std::span<const OverlayPeer> living);

}  // namespace sedge::mesh
