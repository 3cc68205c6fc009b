#include "trust/certificate.h"

#include <algorithm>

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kDomain = "sedge.certificate.1";

// The signature comes last and has a fixed size, so the signed bytes are the encoding without its tail.
Buffer signed_bytes(const Certificate& certificate) {
  Buffer bytes = wire::encode(certificate);
  bytes.resize(bytes.size() - certificate.signature.bytes.size());
  return bytes;
}

Status refuse(const Certificate& certificate, std::string_view why) {
  return fail(Code::kUnauthenticated, "certificate of '{}' ({}): {}", certificate.name,
              node_id_of(certificate.subject).short_hex(), why);
}

// Its form and its time; not whether its issuer is to be believed.
Status check_form(const Certificate& certificate, WallTime now) {
  if (certificate.version != kCertificateVersion) {
    return fail(Code::kUnimplemented, "a certificate of version {}; this build reads {}", certificate.version,
                kCertificateVersion);
  }
  if (!valid_name(certificate.name)) return fail(Code::kUnauthenticated, "a certificate without a proper name");
  SEDGE_CHECK(certificate.grants.validate());
  if (now && certificate.not_after && *now > *certificate.not_after) return refuse(certificate, "expired");
  return {};
}

Status check_signature(const Certificate& certificate) {
  if (verify(certificate.issuer, kDomain, signed_bytes(certificate), certificate.signature)) return {};
  return refuse(certificate, "its signature is not its issuer's");
}

Status check_issuer(const PublicKey& root, const Certificate& issuer, WallTime now) {
  if (issuer.role != Role::kIssuer) return refuse(issuer, "not an issuer");
  if (issuer.issuer != root || issuer.fleet != fingerprint(root)) return refuse(issuer, "of another fleet");
  return check_form(issuer, now);
}

}  // namespace

bool valid_name(std::string_view name) { return name.size() <= kNameBytesMax && valid_path(name); }

void sign_certificate(Certificate& certificate, const SecretKey& issuer) {
  certificate.issuer = issuer.public_key();
  certificate.signature = sign(issuer, kDomain, signed_bytes(certificate));
}

Status verify_issuer(const PublicKey& root, const Certificate& issuer, WallTime now) {
  SEDGE_CHECK(check_issuer(root, issuer, now));
  return check_signature(issuer);
}

Status verify_chain(const PublicKey& root, const CertificateChain& chain, WallTime now,
                    std::span<const Certificate> known) {
  const auto& [issuer, node] = chain;
  if (node.role != Role::kNode) return refuse(node, "not a node");
  if (node.issuer != issuer.subject || node.fleet != issuer.fleet) return refuse(node, "from another issuer");
  SEDGE_CHECK(check_issuer(root, issuer, now));
  if (std::ranges::find(known, issuer) == known.end()) SEDGE_CHECK(check_signature(issuer));
  SEDGE_CHECK(check_form(node, now));
  SEDGE_CHECK(check_signature(node));
  if (!issuer.grants.allows(Verb::kEnrol, node.name)) return refuse(node, "its issuer may not enrol that name");
  if (!issuer.grants.covers(node.grants)) return refuse(node, "it grants more than its issuer has");
  return {};
}

Buffer encode_chain(const CertificateChain& chain) { return wire::encode(chain); }

Result<CertificateChain> decode_chain(Bytes bytes) {
  if (bytes.size() > kChainBytesMax) {
    return fail(Code::kResourceExhausted, "a certificate chain of {} bytes; at most {}", bytes.size(), kChainBytesMax);
  }
  return wire::decode<CertificateChain>(bytes);
}

}  // namespace sedge::trust
