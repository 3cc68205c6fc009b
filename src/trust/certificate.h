// Who a key belongs to and what it may do, signed. A fleet has one root key, kept offline; the root signs issuers,
// issuers sign nodes: a chain is always exactly two certificates, so that checking one costs two signatures and no
// search. X.509 for this was rejected: its parsers are where such systems break, and its names and times say nothing
// about grants. X.509 only wraps the chain inside TLS (quic/tls.h).
// Certificates do not expire unless asked: a robot without a clock battery must still be let in. Withdrawal is by
// revocation (trust/revocation.h).
// Grammar: docs/formats/certificate.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/grants.h"
#include "trust/keys.h"

namespace sedge::trust {

enum class Role : std::uint8_t { kIssuer, kNode };
constexpr Role wire_last(Role) { return Role::kNode; }

inline constexpr std::uint32_t kCertificateVersion = 1;
inline constexpr std::size_t kNameBytesMax = 64;
inline constexpr std::size_t kChainBytesMax = 8192;

// Seconds since 1970 as the machine's clock has them; absent where no clock is to be trusted.
using WallTime = std::optional<std::int64_t>;

struct Certificate {
  std::uint32_t version = kCertificateVersion;
  Fingerprint fleet{};  // of the root
  Role role = Role::kNode;
  PublicKey subject;
  std::string name;  // what people call it: 1 to 64 printable bytes, levels by '/'
  Grants grants;
  std::uint64_t serial = 0;  // of two certificates of one subject the higher serial counts: microseconds since 1970
  std::optional<std::int64_t> not_after;  // seconds since 1970
  PublicKey issuer;                       // the root's key in an issuer's certificate
  Signature signature;                    // by `issuer`, over all the bytes before it, domain "sedge.certificate.1"
  friend bool operator==(const Certificate&, const Certificate&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("version", version);
    visit("fleet", fleet);
    visit("role", role);
    visit("subject", subject);
    visit("name", name);
    visit("grants", grants);
    visit("serial", serial);
    visit("not_after", not_after);
    visit("issuer", issuer);
    visit("signature", signature);
  }
};

struct CertificateChain {
  Certificate issuer;
  Certificate node;
  friend bool operator==(const CertificateChain&, const CertificateChain&) = default;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("issuer", issuer);
    visit("node", node);
  }
};

bool valid_name(std::string_view name);

// Fills `issuer` and `signature`. The rest is the caller's; verify_chain tells what is wrong with it.
void sign_certificate(Certificate& certificate, const SecretKey& issuer);

// Root -> issuer -> node, of one fleet, signatures, expiry, and that the issuer may enrol that name with those grants.
// `known`: the signatures of these issuers were found good before; a fleet has one or two, and a node meets all
// members. Errors: Unauthenticated, saying which link of the chain is wrong: refuse the peer.
Status verify_chain(const PublicKey& root, const CertificateChain& chain, WallTime now = {},
                    std::span<const Certificate> known = {});
// The issuer's half of it, for whoever has only that certificate (revocations).
Status verify_issuer(const PublicKey& root, const Certificate& issuer, WallTime now = {});

Buffer encode_chain(const CertificateChain& chain);
// Errors: DataLoss: no chain. ResourceExhausted: larger than kChainBytesMax.
Result<CertificateChain> decode_chain(Bytes bytes);

}  // namespace sedge::trust
