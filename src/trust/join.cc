#include "trust/join.h"

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kDomain = "sedge.join.1";

Buffer join(Bytes a, Bytes b) {
  Buffer out = to_buffer(a);
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

Buffer signed_bytes(const JoinGrant& grant, const Exporter& exporter) {
  const Buffer bytes = wire::encode(grant);
  return join(exporter, Bytes(bytes).first(bytes.size() - grant.signature.bytes.size()));
}

}  // namespace

Digest make_proof(const Verifier& verifier, const Exporter& exporter, const PublicKey& key) {
  return hmac_sha256(verifier, join(exporter, key.bytes));
}

bool check_proof(const Verifier& verifier, const Exporter& exporter, const JoinRequest& request) {
  return equal(make_proof(verifier, exporter, request.key), request.proof);
}

JoinRequest make_request(const Invitation& invitation, const PublicKey& key, std::string_view name,
                         const Exporter& exporter) {
  return {invitation.serial, key, std::string(name), make_proof(verifier_of(invitation.secret), exporter, key)};
}

Result<JoinGrant> make_grant(const IssuerIdentity& issuer, const PublicKey& root, const Invited& invited,
                             const JoinRequest& request, std::uint64_t serial, const FleetSecret& fleet_secret,
                             std::vector<std::string> seeds, const Exporter& exporter) {
  Certificate node;
  node.fleet = issuer.certificate.fleet;
  node.role = Role::kNode;
  node.subject = request.key;
  node.name = invited.name.value_or(request.name);
  node.grants = invited.grants;
  node.serial = serial;
  if (!valid_name(node.name)) {
    return fail(Code::kInvalidArgument, "'{}' is no name: 1 to {} printable bytes", node.name, kNameBytesMax);
  }
  sign_certificate(node, issuer.key);
  const CertificateChain chain{issuer.certificate, std::move(node)};
  if (const Status valid = verify_chain(root, chain); !valid) {
    return fail(Code::kPermissionDenied, "{}", valid.error().message);
  }
  JoinGrant grant{encode_chain(chain), root, fleet_secret, std::move(seeds), {}};
  grant.signature = sign(issuer.key, kDomain, signed_bytes(grant, exporter));
  return grant;
}

Status check_inviter(const Invitation& invitation, const CertificateChain& chain) {
  const PublicKey& root = chain.issuer.issuer;  // believed only if it is the one that the invitation names
  if (fingerprint(root) != invitation.root) {
    return fail(Code::kUnauthenticated, "a node of another fleet than the invitation's answers there");
  }
  if (chain.issuer.subject != invitation.issuer) {
    return fail(Code::kUnauthenticated, "the node that answers there was not enrolled by the inviting issuer");
  }
  return verify_chain(root, chain);
}

Status check_grant(const Invitation& invitation, const PublicKey& key, const Exporter& exporter,
                   const JoinGrant& grant) {
  if (fingerprint(grant.root) != invitation.root) {
    return fail(Code::kUnauthenticated, "the grant is of another fleet than the invitation");
  }
  if (grant.seeds.size() > kSeedsMax) return fail(Code::kDataLoss, "the grant names {} seeds", grant.seeds.size());
  SEDGE_TRY(const CertificateChain chain, decode_chain(grant.chain));
  SEDGE_CHECK(check_inviter(invitation, chain));
  if (chain.node.subject != key) return fail(Code::kUnauthenticated, "the granted certificate is for another key");
  if (!verify(invitation.issuer, kDomain, signed_bytes(grant, exporter), grant.signature)) {
    return fail(Code::kUnauthenticated, "the grant is not signed by the inviting issuer for this connection");
  }
  return {};
}

}  // namespace sedge::trust
