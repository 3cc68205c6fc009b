// Withdrawing a certificate. A revocation is a signed statement that anybody can check alone, and the set of all of
// them is replicated: what is valid is a pure function of that set, so all nodes come to the same answer in any
// order of arrival. It carries a cut: what the subject wrote up to (epoch, sequence) stays, everything later is
// withdrawn everywhere, however it arrives. Of several revocations of one subject the smallest cut counts.
// There is no un-revoking: a node comes back with a new key and a new invitation. A revoked issuer's own revocations
// stay in force for those whose certificate counts by it, because dropping them would let withdrawn nodes back in with
// the fall of whoever withdrew them; for those that another issuer has signed since they are void, because its key may
// be a thief's. An issuer with the grant `revoke` for the subject's name may revoke a node, and shows the subject's
// chain to prove the name; only the root may revoke an issuer, and every node whose certificate counts by a revoked
// issuer is revoked with its cut (trust/directory.h says which counts). Travels as an entry under kRevocationPath + hex
// of the subject's id. Grammar: docs/formats/certificate.md.
#pragma once

#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "trust/certificate.h"
#include "trust/keys.h"

namespace sedge::trust {

inline constexpr std::string_view kRevocationPath = "sys/revoked/";
inline constexpr std::size_t kRevocationBytesMax = 2 * kChainBytesMax;

// The last write that still counts.
struct Cut {
  BootEpoch epoch;
  Sequence sequence;
  friend auto operator<=>(const Cut&, const Cut&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("epoch", epoch);
    visit("sequence", sequence);
  }
};

// What an issuer shows beside its signature; the root needs none of it.
struct RevokedByIssuer {
  Certificate issuer;
  CertificateChain subject;
  friend bool operator==(const RevokedByIssuer&, const RevokedByIssuer&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("issuer", issuer);
    visit("subject", subject);
  }
};

struct Revocation {
  NodeId subject;
  Cut cut;
  std::optional<RevokedByIssuer> by;  // absent: signed by the root
  Signature signature;  // by the issuer or the root, over the bytes before it, domain "sedge.revocation.1"
  friend bool operator==(const Revocation&, const Revocation&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("subject", subject);
    visit("cut", cut);
    visit("by", by);
    visit("signature", signature);
  }
};

void sign_revocation(Revocation& revocation, const SecretKey& signer);

// Errors: Unauthenticated: drop it, count it. PermissionDenied: that issuer may not revoke that name.
Status verify_revocation(const PublicKey& root, const Revocation& revocation);

Buffer encode_revocation(const Revocation& revocation);
Result<Revocation> decode_revocation(Bytes bytes);

}  // namespace sedge::trust
