// All certificates and revocations of one fleet that this node has seen, and the questions that the other cores ask
// of them. What it answers is a pure function of the sets that were added: order and repetition do not matter.
//   - of two certificates of one subject, the higher serial counts (equal ones: the greater signature), but one by an
//     issuer that is not revoked before any by one that is: who has the key of a retired issuer cannot bring a member
//     down by signing it once more. So the best one by each issuer is kept;
//   - of two revocations of one subject, the smaller cut. One by an issuer that is itself revoked counts only for whom
//     it has enrolled and nobody has signed since; only the root's count for issuers.
// Bounded: at most kCertificatesMax of each; only what the fleet's own keys signed is ever remembered.
// Threads: none; whoever reads it does so between two changes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "trust/certificate.h"
#include "trust/grants.h"
#include "trust/keys.h"
#include "trust/revocation.h"

namespace sedge::trust {

inline constexpr std::size_t kCertificatesMax = 65536;
inline constexpr std::size_t kIssuersMax = 16;  // of one subject; a fleet has one or two, and only the root makes more

class Directory {
 public:
  explicit Directory(const PublicKey& root);

  // What one directory has verified, for all that share it: of one process that simulates many nodes of a fleet, never
  // of a node on its own. Signatures found good are not looked at again, and chains are kept once. What depends on the
  // time is not shared.
  struct Shared;
  static std::shared_ptr<Shared> make_shared();
  void share(std::shared_ptr<Shared> shared) { shared_ = std::move(shared); }

  const PublicKey& root() const { return root_; }
  const Fingerprint& fleet() const { return fleet_; }
  // Until this is called no certificate expires: a board without a clock battery wakes up in 1970.
  void set_wall_time(WallTime now) { wall_time_ = now; }

  // Verifies a chain and remembers it. A revoked node's is remembered too: its writes up to the cut stay verifiable.
  // Errors: DataLoss, Unauthenticated: refuse the peer. ResourceExhausted: the fleet is larger than this build allows.
  Result<NodeId> add(Bytes chain);

  // Verifies without remembering; a revoked subject or issuer is refused as well, but not a peer that shows an older
  // certificate than the one that counts. What admits a peer (quic).
  // Errors: DataLoss, Unauthenticated (a stranger, another fleet), PermissionDenied (revoked).
  Result<CertificateChain> admit(Bytes chain) const;

  // A certificate that nobody needs now; whoever does later brings it again. A revocation is never forgotten.
  void forget(NodeId id);

  const Certificate* find(NodeId id) const;
  // As it was added, to hand on. Empty when unknown.
  Bytes chain_of(NodeId id) const;

  bool revoked(NodeId id) const;
  Status revoke(const Revocation& revocation);  // verifies; adding one again is fine

  // Known, not revoked, and granted.
  bool allows(NodeId id, Verb verb, std::string_view path) const;

  // Errors: NotFound: no certificate (yet). Unauthenticated: not its signature.
  Status verify(NodeId origin, std::string_view domain, Bytes message, const Signature& signature) const;

  // Whether a write of `origin` counts. Revocation's cut decides; the grant is asked by grants() below.
  // Errors: NotFound: no certificate (yet): keep it until one comes, or ask. PermissionDenied: past the cut.
  Status accepts_write(NodeId origin, BootEpoch epoch, Sequence sequence) const;

  // A grant for the path, whether or not the node was revoked since: with accepts_write this is the whole question for
  // one replicated operation, and its answer does not depend on when it is asked.
  bool grants(NodeId origin, Verb verb, std::string_view path) const;

  std::size_t size() const { return nodes_.size(); }
  // Counts changes of either set: whoever caches an answer compares it.
  std::uint64_t generation() const { return generation_; }

 private:
  struct Entry {
    NodeId id;
    Certificate certificate;
    NodeId issuer;
    Buffer chain;
  };
  using Entries = std::vector<std::shared_ptr<const Entry>>;  // one by each issuer, the one that counts in front

  // Smallest cuts, by who signed.
  struct Withdrawn {
    std::optional<Cut> by_root;
    std::map<NodeId, Cut> by_issuers;
  };

  // `issuer`: whose certificate counts for the node; zero: none is known.
  std::optional<Cut> cut_of(NodeId id, NodeId issuer) const;
  std::optional<Cut> cut_of(NodeId id) const;
  bool retired(NodeId issuer) const;
  const Entry* counting(NodeId id) const;
  void choose(Entries& entries) const;
  // Decoded and verified. Errors: DataLoss, Unauthenticated.
  Result<std::shared_ptr<const Entry>> verified(Bytes chain) const;
  Status check(const CertificateChain& chain) const;

  PublicKey root_;
  Fingerprint fleet_;
  WallTime wall_time_;
  std::unordered_map<NodeId, Entries> nodes_;
  std::map<NodeId, Withdrawn> revoked_;
  std::uint64_t generation_ = 0;
  mutable std::vector<Certificate> issuers_;  // whose signatures were found good, the newest kIssuersMax
  std::shared_ptr<Shared> shared_;
};

}  // namespace sedge::trust
