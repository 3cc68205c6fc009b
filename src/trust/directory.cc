#include "trust/directory.h"

#include <algorithm>
#include <array>

namespace sedge::trust {

Directory::Directory(const PublicKey& root) : root_(root), fleet_(fingerprint(root)) {}

template <class Check>
Status Directory::remembered(Bytes question, Check check) const {
  if (!verdicts_) return check();
  const Digest name = digest(question, root_.bytes);
  if (verdicts_->contains(name)) return {};
  Status verdict = check();
  if (verdict) verdicts_->insert(name);
  return verdict;
}

Result<NodeId> Directory::add(Bytes bytes) {
  SEDGE_TRY(CertificateChain chain, decode_chain(bytes));
  const NodeId id = node_id_of(chain.node.subject);
  const auto known = nodes_.find(id);
  // Gossip brings the same chain again and again: equal bytes were verified when they first came.
  if (known != nodes_.end() && std::ranges::equal(known->second.chain, bytes)) return id;
  const auto whole = [&] { return verify_chain(root_, chain, wall_time_); };
  const bool timeless = !chain.node.not_after && !chain.issuer.not_after;
  SEDGE_CHECK(timeless ? remembered(bytes, whole) : whole());
  if (known == nodes_.end() && nodes_.size() >= kCertificatesMax) {
    return fail(Code::kResourceExhausted, "this build knows at most {} nodes of a fleet", kCertificatesMax);
  }
  const auto rank = [](const Certificate& c) { return std::pair(c.serial, c.signature); };
  if (known != nodes_.end() && rank(chain.node) < rank(known->second.certificate)) return id;
  const NodeId issuer = node_id_of(chain.issuer.subject);
  nodes_[id] = Entry{std::move(chain.node), issuer, to_buffer(bytes)};
  ++generation_;
  return id;
}

Result<CertificateChain> Directory::admit(Bytes bytes) const {
  SEDGE_TRY(CertificateChain chain, decode_chain(bytes));
  const NodeId id = node_id_of(chain.node.subject);
  if (revoked_.contains(id) || revoked_.contains(node_id_of(chain.issuer.subject))) {
    return fail(Code::kPermissionDenied, "the certificate of '{}' ({}) was revoked", chain.node.name, id.short_hex());
  }
  const auto known = nodes_.find(id);
  if (known == nodes_.end() || !std::ranges::equal(known->second.chain, bytes) || chain.node.not_after ||
      chain.issuer.not_after) {
    SEDGE_CHECK(verify_chain(root_, chain, wall_time_));
  }
  return chain;
}

void Directory::forget(NodeId id) {
  if (nodes_.erase(id) > 0) ++generation_;
}

const Certificate* Directory::find(NodeId id) const {
  const auto entry = nodes_.find(id);
  return entry == nodes_.end() ? nullptr : &entry->second.certificate;
}

Bytes Directory::chain_of(NodeId id) const {
  const auto entry = nodes_.find(id);
  return entry == nodes_.end() ? Bytes{} : Bytes(entry->second.chain);
}

const Cut* Directory::cut_of(const Entry* entry, NodeId id) const {
  const auto own = revoked_.find(id);
  const auto issuers = entry == nullptr ? revoked_.end() : revoked_.find(entry->issuer);
  if (own == revoked_.end()) return issuers == revoked_.end() ? nullptr : &issuers->second;
  if (issuers == revoked_.end()) return &own->second;
  return &std::min(own->second, issuers->second);
}

bool Directory::revoked(NodeId id) const {
  const auto entry = nodes_.find(id);
  return cut_of(entry == nodes_.end() ? nullptr : &entry->second, id) != nullptr;
}

Status Directory::revoke(const Revocation& revocation) {
  const auto known = revoked_.find(revocation.subject);
  if (known != revoked_.end() && known->second <= revocation.cut) return {};
  SEDGE_CHECK(verify_revocation(root_, revocation));
  if (known == revoked_.end() && revoked_.size() >= kCertificatesMax) {
    return fail(Code::kResourceExhausted, "this build knows at most {} revocations", kCertificatesMax);
  }
  revoked_.insert_or_assign(revocation.subject, revocation.cut);
  ++generation_;
  return {};
}

bool Directory::allows(NodeId id, Verb verb, std::string_view path) const {
  const auto entry = nodes_.find(id);
  return entry != nodes_.end() && cut_of(&entry->second, id) == nullptr &&
         entry->second.certificate.grants.allows(verb, path);
}

Status Directory::verify(NodeId origin, std::string_view domain, Bytes message, const Signature& signature) const {
  const Certificate* certificate = find(origin);
  if (certificate == nullptr) return fail(Code::kNotFound, "no certificate of {} is known", origin.short_hex());
  const auto signed_by_it = [&]() -> Status {
    if (trust::verify(certificate->subject, domain, message, signature)) return {};
    return fail(Code::kUnauthenticated, "not signed by {}", origin.short_hex());
  };
  if (!verdicts_) return signed_by_it();
  Buffer question;
  // The first two have a fixed length, and no domain has a byte 0.
  constexpr std::array<std::uint8_t, 1> kEnd{};
  for (const Bytes part :
       {Bytes(certificate->subject.bytes), Bytes(signature.bytes), as_bytes(domain), Bytes(kEnd), message}) {
    question.insert(question.end(), part.begin(), part.end());
  }
  return remembered(question, signed_by_it);
}

Status Directory::accepts_write(NodeId origin, BootEpoch epoch, Sequence sequence) const {
  const auto entry = nodes_.find(origin);
  if (entry == nodes_.end()) return fail(Code::kNotFound, "no certificate of {} is known", origin.short_hex());
  const Cut* cut = cut_of(&entry->second, origin);
  if (cut != nullptr && Cut{epoch, sequence} > *cut) {
    return fail(Code::kPermissionDenied, "{} was revoked after its write {}.{}", origin.short_hex(), cut->epoch.value,
                cut->sequence.value);
  }
  return {};
}

bool Directory::grants_write(NodeId origin, std::string_view path) const {
  const Certificate* certificate = find(origin);
  return certificate != nullptr && certificate->grants.allows(Verb::kWrite, path);
}

}  // namespace sedge::trust
