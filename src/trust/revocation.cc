#include "trust/revocation.h"

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kDomain = "sedge.revocation.1";

Buffer signed_bytes(const Revocation& revocation) {
  Buffer bytes = wire::encode(revocation);
  bytes.resize(bytes.size() - revocation.signature.bytes.size());
  return bytes;
}

}  // namespace

void sign_revocation(Revocation& revocation, const SecretKey& signer) {
  revocation.signature = sign(signer, kDomain, signed_bytes(revocation));
}

Status verify_revocation(const PublicKey& root, const Revocation& revocation) {
  if (revocation.by) {
    const auto& [issuer, subject] = *revocation.by;
    // No expiry here: an old revocation must not lapse with a certificate that it leans on.
    SEDGE_CHECK(verify_issuer(root, issuer));
    SEDGE_CHECK(verify_chain(root, subject));
    if (node_id_of(subject.node.subject) != revocation.subject) {
      return fail(Code::kUnauthenticated, "the revocation of {} shows the certificate of another node",
                  revocation.subject.short_hex());
    }
    if (!issuer.grants.allows(Verb::kRevoke, subject.node.name)) {
      return fail(Code::kPermissionDenied, "'{}' may not revoke '{}'", issuer.name, subject.node.name);
    }
  }
  const PublicKey& signer = revocation.by ? revocation.by->issuer.subject : root;
  if (!verify(signer, kDomain, signed_bytes(revocation), revocation.signature)) {
    return fail(Code::kUnauthenticated, "the revocation of {} is not signed by who it names",
                revocation.subject.short_hex());
  }
  return {};
}

Buffer encode_revocation(const Revocation& revocation) { return wire::encode(revocation); }

Result<Revocation> decode_revocation(Bytes bytes) {
  if (bytes.size() > kRevocationBytesMax) {
    return fail(Code::kResourceExhausted, "a revocation of {} bytes; at most {}", bytes.size(), kRevocationBytesMax);
  }
  return wire::decode<Revocation>(bytes);
}

}  // namespace sedge::trust
