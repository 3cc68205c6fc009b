// Beacons: how nodes of one fleet find each other on a network where nothing is configured. Each now and then sends
// one small datagram to whoever is near; who hears one of its own fleet may dial. That is all a beacon can cause: the
// dial is mutually authenticated like any other, so a replayed beacon costs one failed handshake at most (receivers
// limit how often they follow one, mesh/membership.h).
//
//   "SGB1" | tag (24) | sealed { node id, port, boot epoch } | MAC (16)
//
// Sealing is XChaCha20-Poly1305 under a key derived from the fleet secret; the tag is its nonce and is itself a keyed
// hash of (contents, rotation number), so it needs no randomness and can never repeat for two contents. The sender
// raises the rotation number every kBeaconRotation: within one period a listener sees one unchanging tag, across
// periods it cannot tell one node from another. A MAC beside a node id in clear was rejected: it would let anyone
// follow a robot.
// Grammar: docs/formats/beacon.md.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "trust/invitation.h"

namespace sedge::trust {

inline constexpr Duration kBeaconRotation = std::chrono::minutes(10);
inline constexpr std::size_t kBeaconBytesMax = 128;

struct Beacon {
  NodeId node;
  std::uint16_t port = 0;  // where it listens, at the address that the beacon came from
  BootEpoch epoch;
  friend bool operator==(const Beacon&, const Beacon&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("node", node);
    visit("port", port);
    visit("epoch", epoch);
  }
};

Buffer seal_beacon(const FleetSecret& fleet, const Beacon& beacon, std::uint64_t rotation);
// Errors: DataLoss: no beacon. Unauthenticated: of another fleet, or forged. Both: drop it, count it.
Result<Beacon> open_beacon(const FleetSecret& fleet, Bytes bytes);

}  // namespace sedge::trust
