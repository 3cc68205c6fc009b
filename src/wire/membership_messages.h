// What nodes tell each other about who is in the fleet. Two kinds of statement travel:
//   MemberRecord  what a node says of itself, signed by it: it cannot be forged or altered by who passes it on
//   Rumour        what others say of a node (suspect, dead): unsigned, cheap, and refuted by the node itself with a
//                 record of a higher incarnation
// Rejected: signing rumours too. A member that lies about others is answered by the refutation within a round trip,
// and a signature a rumour would be paid on every suspicion of a lossy radio.
// Layout and order of precedence: docs/formats/membership.md.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "wire/codec.h"

namespace sedge::wire {

using RawSignature = std::array<std::uint8_t, 64>;

// An address as it travels: IPv4 mapped into IPv6, port in host order.
struct Address {
  std::array<std::uint8_t, 16> ip{};
  std::uint16_t port = 0;
  friend auto operator<=>(const Address&, const Address&) = default;

  template <class V>
  void fields(V& visit) {
    visit("ip", ip);
    visit("port", port);
  }
};

// Worse claims win at the same incarnation.
enum class MemberState : std::uint8_t { kAlive, kSuspect, kDead, kLeft };
constexpr MemberState wire_last(MemberState) { return MemberState::kLeft; }

// Where a node stands in the plane of round trips (mesh/coordinates.h). Whole numbers: none is infinite or no number.
struct Coordinate {
  std::int32_t x_us = 0;
  std::int32_t y_us = 0;
  std::uint32_t height_us = 0;
  std::uint16_t error_permille = 0;  // how wrong it has proved, relatively
  friend bool operator==(const Coordinate&, const Coordinate&) = default;

  template <class V>
  void fields(V& visit) {
    visit("x_us", x_us);
    visit("y_us", y_us);
    visit("height_us", height_us);
    visit("error_permille", error_permille);
  }
};

// Which links a node wants, by a rule (mesh/overlay.h).
enum class OverlayKind : std::uint8_t { kPartial, kFull, kNearest, kRing, kStar, kHierarchy };
constexpr OverlayKind wire_last(OverlayKind) { return OverlayKind::kHierarchy; }

// A node's rule, and what others' rules must know of it. All of it stands for a whole incarnation: the digests see to
// it that everybody knows the same, and chooses the same gateways.
struct OverlayRole {
  OverlayKind kind = OverlayKind::kPartial;
  std::uint16_t k = 0;
  std::uint16_t fitness = 0;  // to be a gateway; the greatest are chosen
  std::string zone;           // its cluster: configured, or where it is in the plane of round trips
  friend bool operator==(const OverlayRole&, const OverlayRole&) = default;

  template <class V>
  void fields(V& visit) {
    visit("kind", kind);
    visit("k", k);
    visit("fitness", fitness);
    visit("zone", zone);
  }
};

struct MemberRecord {
  NodeId id;
  BootEpoch epoch;
  std::uint64_t instance = 0;  // random, drawn at each start: the same epoch twice shows a copied home
  Incarnation incarnation;
  bool left = false;  // the last record of a node that goes away on purpose
  std::string name;
  std::vector<Address> endpoints;
  std::uint64_t revision = 0;  // of one incarnation, for what nobody waits for: the coordinate
  std::optional<Coordinate> coordinate;
  std::optional<OverlayRole> overlay;  // none: the partial view, outside of every zone
  friend bool operator==(const MemberRecord&, const MemberRecord&) = default;

  template <class V>
  void fields(V& visit) {
    visit("id", id);
    visit("epoch", epoch);
    visit("instance", instance);
    visit("incarnation", incarnation);
    visit("left", left);
    visit("name", name);
    visit("endpoints", endpoints);
    visit("revision", revision);
    visit("coordinate", coordinate);
    visit("overlay", overlay);
  }
};

struct SignedMember {
  Buffer record;             // an encoded MemberRecord: signed as these bytes
  RawSignature signature{};  // by the subject, domain "sedge.member.1"
  Buffer certificate_chain;  // empty when the receiver surely has it
  friend bool operator==(const SignedMember&, const SignedMember&) = default;

  template <class V>
  void fields(V& visit) {
    visit("record", record);
    visit("signature", signature);
    visit("certificate_chain", certificate_chain);
  }
};

struct Rumour {
  NodeId subject;
  BootEpoch epoch;
  Incarnation incarnation;
  MemberState state = MemberState::kAlive;
  friend bool operator==(const Rumour&, const Rumour&) = default;

  template <class V>
  void fields(V& visit) {
    visit("subject", subject);
    visit("epoch", epoch);
    visit("incarnation", incarnation);
    visit("state", state);
  }
};

// The table falls into so many buckets, by the first bits of the id: who differs in one row sends one bucket.
inline constexpr std::size_t kMemberBuckets = 64;
inline std::size_t bucket_of(NodeId id) { return id.bytes[0] / (256 / kMemberBuckets); }

// What the sender's table comes to, bucket by bucket. The receiver answers with a MemberSync of those that differ.
struct MemberDigests {
  std::array<std::uint64_t, kMemberBuckets> buckets{};
  friend bool operator==(const MemberDigests&, const MemberDigests&) = default;

  template <class V>
  void fields(V& visit) {
    for (std::uint64_t& bucket : buckets) visit("bucket", bucket);
  }
};

// Some buckets of the table in brief. The receiver answers with the records that it has newer (MemberGossip), and with
// its own rows of these buckets when it lacks something and `answer` asks for it.
struct MemberSync {
  bool answer = false;
  std::uint64_t buckets = 0;  // bit b: all rows of bucket b are here
  std::vector<Rumour> members;
  friend bool operator==(const MemberSync&, const MemberSync&) = default;

  template <class V>
  void fields(V& visit) {
    visit("answer", answer);
    visit("buckets", buckets);
    visit("members", members);
  }
};

struct MemberGossip {
  std::vector<SignedMember> records;
  std::vector<Rumour> rumours;
  friend bool operator==(const MemberGossip&, const MemberGossip&) = default;

  template <class V>
  void fields(V& visit) {
    visit("records", records);
    visit("rumours", rumours);
  }
};

struct Probe {
  std::uint64_t number = 0;
  std::uint64_t digest = 0;  // of the sender's view of who lives: a difference starts MemberDigests
  bool again = false;        // sent as a frame because a datagram was not answered: answer as a frame
  std::uint16_t links = 0;   // the sender has so many
  friend bool operator==(const Probe&, const Probe&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("digest", digest);
    visit("again", again);
    visit("links", links);
  }
};

struct ProbeAck {
  std::uint64_t number = 0;
  std::uint64_t digest = 0;
  std::uint64_t fleet_us = 0;   // the answering node's fleet clock when it answered; 0: it has none yet
  std::uint64_t steady_us = 0;  // its clock that nobody sets, at that moment
  std::uint16_t links = 0;
  std::optional<Coordinate> coordinate;  // none: it has measured nobody yet
  friend bool operator==(const ProbeAck&, const ProbeAck&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("digest", digest);
    visit("fleet_us", fleet_us);
    visit("steady_us", steady_us);
    visit("links", links);
    visit("coordinate", coordinate);
  }
};

// "Probe this one for me", over a link that you already have.
struct ProbeRequest {
  std::uint64_t number = 0;
  NodeId target;
  friend bool operator==(const ProbeRequest&, const ProbeRequest&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("target", target);
  }
};

// Sent only when the target answered; silence is not evidence.
struct ProbeVerdict {
  std::uint64_t number = 0;
  NodeId target;
  friend bool operator==(const ProbeVerdict&, const ProbeVerdict&) = default;

  template <class V>
  void fields(V& visit) {
    visit("number", number);
    visit("target", target);
  }
};

// Whether the sender's overlay wants this link. A link that neither end wants is closed; until something is said, it is
// wanted.
struct MemberLink {
  bool wanted = false;
  friend bool operator==(const MemberLink&, const MemberLink&) = default;

  template <class V>
  void fields(V& visit) {
    visit("wanted", wanted);
  }
};

// "I leave the fleet": nobody is to suspect me when my links close. My last record says so too.
struct Leave {
  friend bool operator==(const Leave&, const Leave&) = default;

  template <class V>
  void fields(V&) {}
};

}  // namespace sedge::wire
