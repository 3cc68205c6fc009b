// The join exchange: how a new machine gets its certificate. It runs on a QUIC connection of its own (ALPN
// sedge-join/1) on which nothing else is spoken:
//
//   joiner -> issuer   JoinRequest{serial of the invitation, key, name, proof}
//   issuer -> joiner   JoinGrant{chain, root, fleet secret, seeds} or JoinRefusal{why}
//
// The proof is HMAC-SHA256 over the TLS exporter and the joiner's key: it holds for this connection and this key only,
// so whoever records or relays it has nothing. The HMAC's key is derived from the invitation's 128-bit secret, so that
// the issuer's book need not hold the text that would join. The grant is signed by the issuer over the same exporter:
// on the joiner's side any enrolled node of that issuer could answer, but only the issuer can hand out the fleet.
// Sending the secret itself under TLS was rejected: a joiner that reaches the wrong machine would give it away.
// Grammar: docs/formats/join.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/certificate.h"
#include "trust/invitation.h"
#include "trust/keys.h"

namespace sedge::trust {

inline constexpr std::size_t kJoinBytesMax = 16384;
using Exporter = std::array<std::uint8_t, 32>;  // TLS exporter, label "EXPORTER-sedge-join-1", no context

struct JoinRequest {
  std::uint64_t serial = 0;
  PublicKey key;
  std::string name;  // asked for; the invitation may insist on another
  Digest proof{};
  friend bool operator==(const JoinRequest&, const JoinRequest&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("serial", serial);
    visit("key", key);
    visit("name", name);
    visit("proof", proof);
  }
};

struct JoinGrant {
  Buffer chain;
  PublicKey root;
  FleetSecret fleet_secret{};
  std::vector<std::string> seeds;  // "192.168.1.7:7334": whom to dial first
  Signature signature;             // by the issuer over exporter | the bytes before it, domain "sedge.join.1"
  friend bool operator==(const JoinGrant&, const JoinGrant&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("chain", chain);
    visit("root", root);
    visit("fleet_secret", fleet_secret);
    visit("seeds", seeds);
    visit("signature", signature);
  }
};

struct JoinRefusal {
  std::string why;  // for the person at the joiner
  friend bool operator==(const JoinRefusal&, const JoinRefusal&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("why", why);
  }
};

Digest make_proof(const Verifier& verifier, const Exporter& exporter, const PublicKey& key);
[[nodiscard]] bool check_proof(const Verifier& verifier, const Exporter& exporter, const JoinRequest& request);

JoinRequest make_request(const Invitation& invitation, const PublicKey& key, std::string_view name,
                         const Exporter& exporter);

// The issuer's answer to a request whose invitation was spent durably: signs the node's certificate and the grant.
struct IssuerIdentity {
  const SecretKey& key;
  const Certificate& certificate;
};
// Errors: InvalidArgument or PermissionDenied where the name or the grants are not the issuer's to give.
Result<JoinGrant> make_grant(const IssuerIdentity& issuer, const PublicKey& root, const Invited& invited,
                             const JoinRequest& request, std::uint64_t serial, const FleetSecret& fleet_secret,
                             std::vector<std::string> seeds, const Exporter& exporter);

// The joiner's check: the root is the one invited by, the chain is for `key`, the issuer signed for this connection.
Status check_grant(const Invitation& invitation, const PublicKey& key, const Exporter& exporter,
                   const JoinGrant& grant);

// The joiner's check of who answers the dial: a chain of the fleet that the invitation names, by its issuer.
Status check_inviter(const Invitation& invitation, const CertificateChain& chain);

}  // namespace sedge::trust
