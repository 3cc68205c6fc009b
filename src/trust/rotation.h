// A new key for a node that stays who it is: the same name, grants and state under another id, because an id is its
// key's. It is the join exchange (trust/join.h) with one statement more, signed by the key that goes:
//
//   Rotation{former, last, signature}: I am `former`; my last write was `last`; the key that asks is my successor.
//
// The issuer remembers it with the invitation, and when the successor shows up among the members it revokes the former
// id with `last` as the cut. Not before: until the successor runs, the home may still be started under its old key, and
// a lost answer must not leave it without an identity that the fleet takes. `last` is the node's own word because only
// it knows what it wrote and could not send; a thief of the key alone cannot say it (the invitation's secret), nor can
// who only saw the invitation (the key's signature).
// A message of its own and an heir that the fleet elects were rejected: joining has the proof, the durable book and the
// retries already. So was a certificate with two keys: everything that is signed names its origin by one.
// Grammar: docs/formats/join.md, docs/formats/invitation.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "trust/certificate.h"
#include "trust/join.h"
#include "trust/keys.h"
#include "trust/revocation.h"

namespace sedge::trust {

struct Rotation {
  NodeId former;
  Cut last;             // of the former id's writes: what its disk has, sent or not
  Signature signature;  // by the former key over former, last and the successor's key; domain "sedge.rotation.1"
  friend bool operator==(const Rotation&, const Rotation&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("former", former);
    visit("last", last);
    visit("signature", signature);
  }
};

// What a joiner with a former id sends in place of its JoinRequest.
struct RotationRequest {
  JoinRequest join;
  Rotation rotation;
  friend bool operator==(const RotationRequest&, const RotationRequest&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("join", join);
    visit("rotation", rotation);
  }
};

Rotation sign_rotation(const SecretKey& former, const PublicKey& successor, Cut last);
// Errors: Unauthenticated: of another node, for another successor, or not signed by the former key.
Status check_rotation(const PublicKey& former, const PublicKey& successor, const Rotation& rotation);

// What an issuer keeps of a rotation until the former id is revoked: a record of the bucket below, under the serial of
// its invitation (8 bytes, big-endian).
struct Replacement {
  static constexpr std::string_view kBucket = "rotations";
  // An issuer's own home needs no invitation: its records count from here, which no book's serial reaches.
  static constexpr std::uint64_t kOwnSerials = std::uint64_t{1} << 63;

  CertificateChain former;
  std::optional<PublicKey> successor;  // once it has asked
  Cut last;                            // as the former key stated it then
  friend bool operator==(const Replacement&, const Replacement&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("former", former);
    visit("successor", successor);
    visit("last", last);
  }
};

Buffer replacement_key(std::uint64_t serial);
// Errors: DataLoss.
Result<std::uint64_t> replacement_serial(Bytes key);

}  // namespace sedge::trust
