#include "trust/directory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace sedge::trust {
namespace {

std::pair<std::uint64_t, Signature> rank(const Certificate& certificate) {
  return {certificate.serial, certificate.signature};
}

struct FirstBytes {
  std::size_t operator()(const Digest& digest) const noexcept {
    std::size_t first = 0;
    std::memcpy(&first, digest.data(), sizeof first);
    return first;
  }
};

}  // namespace

struct Directory::Shared {
  std::unordered_set<Digest, FirstBytes> verdicts;
  std::unordered_map<Digest, std::shared_ptr<const Entry>, FirstBytes> chains;
};

std::shared_ptr<Directory::Shared> Directory::make_shared() { return std::make_shared<Shared>(); }

Directory::Directory(const PublicKey& root) : root_(root), fleet_(fingerprint(root)) {}

Result<std::shared_ptr<const Directory::Entry>> Directory::verified(Bytes bytes) const {
  Digest name{};
  if (shared_) {
    name = digest(bytes, root_.bytes);
    if (const auto known = shared_->chains.find(name); known != shared_->chains.end()) return known->second;
  }
  SEDGE_TRY(CertificateChain chain, decode_chain(bytes));
  // Gossip brings the same chain again and again: equal bytes were verified when they first came.
  const NodeId id = node_id_of(chain.node.subject);
  if (const auto known = nodes_.find(id); known != nodes_.end()) {
    for (const auto& entry : known->second) {
      if (std::ranges::equal(entry->chain, bytes)) return entry;
    }
  }
  SEDGE_CHECK(check(chain));
  const bool timeless = !chain.node.not_after && !chain.issuer.not_after;
  auto entry = std::make_shared<const Entry>(
      Entry{id, std::move(chain.node), node_id_of(chain.issuer.subject), to_buffer(bytes)});
  if (shared_ && timeless) shared_->chains.emplace(name, entry);
  return entry;
}

// The members of a fleet have one issuer or a few: its signature is looked at once, not once a member.
Status Directory::check(const CertificateChain& chain) const {
  SEDGE_CHECK(verify_chain(root_, chain, wall_time_, issuers_));
  if (std::ranges::find(issuers_, chain.issuer) != issuers_.end()) return {};
  if (issuers_.size() == kIssuersMax) issuers_.erase(issuers_.begin());
  issuers_.push_back(chain.issuer);
  return {};
}

Result<NodeId> Directory::add(Bytes bytes) {
  SEDGE_TRY(const std::shared_ptr<const Entry> entry, verified(bytes));
  const NodeId id = entry->id;
  const auto known = nodes_.find(id);
  if (known == nodes_.end() && nodes_.size() >= kCertificatesMax) {
    return fail(Code::kResourceExhausted, "this build knows at most {} nodes of a fleet", kCertificatesMax);
  }
  Entries& entries = nodes_[id];
  const auto by_it = std::ranges::find(entries, entry->issuer, [](const auto& other) { return other->issuer; });
  if (by_it != entries.end() && (*by_it == entry || rank(entry->certificate) < rank((*by_it)->certificate))) return id;
  if (by_it != entries.end()) {
    *by_it = entry;
  } else if (entries.size() < kIssuersMax) {
    entries.push_back(entry);
  } else {
    return fail(Code::kResourceExhausted, "{} issuers signed {}: this build keeps no more", kIssuersMax,
                id.short_hex());
  }
  choose(entries);
  ++generation_;
  return id;
}

void Directory::choose(Entries& entries) const {
  const auto best = std::ranges::max_element(
      entries, {}, [this](const auto& entry) { return std::pair(!retired(entry->issuer), rank(entry->certificate)); });
  std::iter_swap(entries.begin(), best);
}

const Directory::Entry* Directory::counting(NodeId id) const {
  const auto entries = nodes_.find(id);
  return entries == nodes_.end() ? nullptr : entries->second.front().get();
}

Result<CertificateChain> Directory::admit(Bytes bytes) const {
  SEDGE_TRY(CertificateChain chain, decode_chain(bytes));
  const NodeId id = node_id_of(chain.node.subject);
  const Entry* known = counting(id);
  // Whoever shows a certificate that was replaced is judged by the one that counts.
  const NodeId shown = node_id_of(chain.issuer.subject);
  if (cut_of(id, known != nullptr && !retired(known->issuer) ? known->issuer : shown)) {
    return fail(Code::kPermissionDenied, "the certificate of '{}' ({}) was revoked", chain.node.name, id.short_hex());
  }
  if (known == nullptr || !std::ranges::equal(known->chain, bytes) || chain.node.not_after || chain.issuer.not_after) {
    SEDGE_CHECK(check(chain));
  }
  return chain;
}

void Directory::forget(NodeId id) {
  if (nodes_.erase(id) > 0) ++generation_;
}

const Certificate* Directory::find(NodeId id) const {
  const Entry* entry = counting(id);
  return entry == nullptr ? nullptr : &entry->certificate;
}

Bytes Directory::chain_of(NodeId id) const {
  const Entry* entry = counting(id);
  return entry == nullptr ? Bytes{} : Bytes(entry->chain);
}

bool Directory::retired(NodeId issuer) const {
  const auto found = revoked_.find(issuer);
  return found != revoked_.end() && found->second.by_root;
}

std::optional<Cut> Directory::cut_of(NodeId id, NodeId issuer) const {
  std::optional<Cut> cut;
  const auto take = [&cut](Cut other) { cut = cut ? std::min(*cut, other) : other; };
  if (const auto found = revoked_.find(id); found != revoked_.end()) {
    if (found->second.by_root) take(*found->second.by_root);
    for (const auto& [signer, by_it] : found->second.by_issuers) {
      if (issuer.is_zero() || issuer == signer || !retired(signer)) take(by_it);
    }
  }
  if (retired(issuer)) take(*revoked_.at(issuer).by_root);
  return cut;
}

std::optional<Cut> Directory::cut_of(NodeId id) const {
  const Entry* entry = counting(id);
  return cut_of(id, entry == nullptr ? NodeId{} : entry->issuer);
}

bool Directory::revoked(NodeId id) const { return cut_of(id).has_value(); }

Status Directory::revoke(const Revocation& revocation) {
  const NodeId signer = revocation.by ? node_id_of(revocation.by->issuer.subject) : NodeId{};
  const auto known = revoked_.find(revocation.subject);
  if (known != revoked_.end()) {
    const auto& [by_root, by_issuers] = known->second;
    const auto by_it = by_issuers.find(signer);
    if (!revocation.by && by_root && *by_root <= revocation.cut) return {};
    if (revocation.by && by_it != by_issuers.end() && by_it->second <= revocation.cut) return {};
  }
  SEDGE_CHECK(verify_revocation(root_, revocation));
  if (known == revoked_.end() && revoked_.size() >= kCertificatesMax) {
    return fail(Code::kResourceExhausted, "this build knows at most {} revocations", kCertificatesMax);
  }
  Withdrawn& withdrawn = revoked_[revocation.subject];
  if (revocation.by) {
    if (!withdrawn.by_issuers.contains(signer) && withdrawn.by_issuers.size() >= kIssuersMax) {
      return fail(Code::kResourceExhausted, "{} issuers revoked {}: this build keeps no more", kIssuersMax,
                  revocation.subject.short_hex());
    }
    withdrawn.by_issuers.insert_or_assign(signer, revocation.cut);
    ++generation_;
    return {};
  }
  withdrawn.by_root = revocation.cut;
  for (auto& [id, entries] : nodes_) choose(entries);  // it may be an issuer's
  ++generation_;
  return {};
}

bool Directory::allows(NodeId id, Verb verb, std::string_view path) const {
  const Entry* entry = counting(id);
  return entry != nullptr && !cut_of(id, entry->issuer) && entry->certificate.grants.allows(verb, path);
}

Status Directory::verify(NodeId origin, std::string_view domain, Bytes message, const Signature& signature) const {
  const Certificate* certificate = find(origin);
  if (certificate == nullptr) return fail(Code::kNotFound, "no certificate of {} is known", origin.short_hex());
  Digest name{};
  if (shared_) {
    Buffer question;
    // Signature and keys have a fixed length, and no domain has a byte 0.
    constexpr std::array<std::uint8_t, 1> kEnd{};
    for (const Bytes part :
         {Bytes(certificate->subject.bytes), Bytes(signature.bytes), as_bytes(domain), Bytes(kEnd), message}) {
      question.insert(question.end(), part.begin(), part.end());
    }
    name = digest(question, root_.bytes);
    if (shared_->verdicts.contains(name)) return {};
  }
  if (!trust::verify(certificate->subject, domain, message, signature)) {
    return fail(Code::kUnauthenticated, "not signed by {}", origin.short_hex());
  }
  if (shared_) shared_->verdicts.insert(name);
  return {};
}

Status Directory::accepts_write(NodeId origin, BootEpoch epoch, Sequence sequence) const {
  const Entry* entry = counting(origin);
  if (entry == nullptr) return fail(Code::kNotFound, "no certificate of {} is known", origin.short_hex());
  const std::optional<Cut> cut = cut_of(origin, entry->issuer);
  if (cut && Cut{epoch, sequence} > *cut) {
    return fail(Code::kPermissionDenied, "{} was revoked after its write {}.{}", origin.short_hex(), cut->epoch.value,
                cut->sequence.value);
  }
  return {};
}

bool Directory::grants(NodeId origin, Verb verb, std::string_view path) const {
  const Certificate* certificate = find(origin);
  return certificate != nullptr && certificate->grants.allows(verb, path);
}

}  // namespace sedge::trust
