// What lies in $SEDGE_HOME, and in which form. Each file is one line of text that says what it is, so that a person
// who finds it on a stick knows what to do with it, and one that was mixed up with another is refused by name:
//
//   sedge node key 1 <base64url( contents | first 4 bytes of BLAKE2b-256 )>
//
// Pure: bytes in, bytes out. Whoever writes them makes secret ones mode 0600 and replaces them whole (write aside,
// sync, rename). A passphrase on the root key was considered: it protects a stolen stick, but a root that nobody can
// open any more is the more common loss; it can be laid around this format later.
// Grammar: docs/formats/certificate.md, "Files".
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/certificate.h"
#include "trust/invitation.h"
#include "trust/keys.h"

namespace sedge::trust {

enum class HomeFile : std::uint8_t {
  kNodeKey,                  // 32-byte seed
  kNodeCertificate,          // CertificateChain
  kRootKey,                  // the root's 32-byte seed: leaves the machine after `sedge fleet create`
  kFleetRoot,                // the root's public key
  kFleetSecret,              // keys the beacons
  kIssuerKey,                // issuers only
  kIssuerCertificate,        // issuers only: its own Certificate
  kNextKey,                  // of a rotation under way (platform/rotation.h): the seed that replaces node.key,
  kNextCertificate,          // and the chain that replaces node.cert
  kFormerCertificate,        // after a rotation: the chain of the id before
  kNextIssuerKey,            // the same of an issuer's key,
  kNextIssuerCertificate,    // which the root has signed
  kFormerIssuerCertificate,  // until that issuer is retired
};
inline constexpr std::size_t kHomeFiles = 13;
inline constexpr std::size_t kHomeFileBytesMax = 16384;

struct HomeFileInfo {
  std::string_view name;   // in $SEDGE_HOME
  std::string_view title;  // how its line begins
  bool secret = false;     // mode 0600, else 0644
};
const HomeFileInfo& home_file(HomeFile file);

// The whole file, newline included.
std::string seal_home_file(HomeFile file, Bytes contents);
// Errors: DataLoss, naming the file and what it is instead.
Result<Buffer> open_home_file(HomeFile file, std::string_view text);

std::string encode_key(HomeFile file, const SecretKey& key);
Result<SecretKey> decode_key(HomeFile file, std::string_view text);
// Of a node: kNodeCertificate, kNextCertificate, kFormerCertificate.
std::string encode_node_certificate(const CertificateChain& chain, HomeFile file = HomeFile::kNodeCertificate);
Result<CertificateChain> decode_node_certificate(std::string_view text, HomeFile file = HomeFile::kNodeCertificate);
// Of an issuer: kIssuerCertificate, kNextIssuerCertificate, kFormerIssuerCertificate.
std::string encode_issuer_certificate(const Certificate& certificate, HomeFile file = HomeFile::kIssuerCertificate);
Result<Certificate> decode_issuer_certificate(std::string_view text, HomeFile file = HomeFile::kIssuerCertificate);
std::string encode_root(const PublicKey& root);
Result<PublicKey> decode_root(std::string_view text);
std::string encode_fleet_secret(const FleetSecret& secret);
Result<FleetSecret> decode_fleet_secret(std::string_view text);

}  // namespace sedge::trust
