#include "trust/audit.h"

#include <algorithm>
#include <array>

#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::uint8_t kEntryTag = 'E';
constexpr std::uint8_t kHeadTag = 'H';

template <class T>
Buffer signed_part(const T& statement) {
  Buffer bytes = wire::encode(statement);
  bytes.resize(bytes.size() - statement.signature.bytes.size());
  return bytes;
}

Buffer tagged(const AuditStatement& statement) {
  const bool entry = std::holds_alternative<AuditEntry>(statement);
  Buffer bytes = std::visit([](const auto& one) { return wire::encode(one); }, statement);
  bytes.insert(bytes.begin(), entry ? kEntryTag : kHeadTag);
  return bytes;
}

Result<AuditStatement> untagged(const Directory& directory, Bytes bytes) {
  if (bytes.empty()) return fail(Code::kDataLoss, "half a proof");
  if (bytes[0] == kEntryTag) {
    SEDGE_TRY(AuditEntry entry, decode_entry(bytes.subspan(1)));
    SEDGE_CHECK(verify_entry(directory, entry));
    return entry;
  }
  if (bytes[0] != kHeadTag) return fail(Code::kDataLoss, "neither an entry nor a head");
  SEDGE_TRY(const AuditHead head, decode_head(bytes.subspan(1)));
  SEDGE_CHECK(verify_head(directory, head));
  return head;
}

NodeId node_of(const AuditStatement& statement) {
  return std::visit([](const auto& one) { return one.node; }, statement);
}

}  // namespace

std::string_view audit_kind_name(std::uint32_t kind) {
  constexpr std::array<std::string_view, 6> kNames = {"?", "start", "enrolled", "revoked", "inference", "refusals"};
  return kind < kNames.size() ? kNames[kind] : kNames[0];
}

void sign_entry(AuditEntry& entry, const SecretKey& key) {
  entry.signature = sign(key, kAuditEntryDomain, signed_part(entry));
}
void sign_head(AuditHead& head, const SecretKey& key) {
  head.signature = sign(key, kAuditHeadDomain, signed_part(head));
}
Buffer encode_entry(const AuditEntry& entry) { return wire::encode(entry); }
Buffer encode_head(const AuditHead& head) { return wire::encode(head); }
Digest hash_of(const AuditEntry& entry) { return digest(signed_part(entry)); }

Result<AuditEntry> decode_entry(Bytes bytes) {
  if (bytes.size() > kAuditEntryBytesMax) return fail(Code::kDataLoss, "an audit entry of {} bytes", bytes.size());
  SEDGE_TRY(AuditEntry entry, wire::decode<AuditEntry>(bytes));
  if (entry.index == 0) return fail(Code::kDataLoss, "audit entries are numbered from 1");
  if (entry.body.size() > kAuditBodyBytesMax) return fail(Code::kDataLoss, "an audit body of {}", entry.body.size());
  if (entry.index == 1 && entry.previous != Digest{}) return fail(Code::kDataLoss, "there is nothing before entry 1");
  return entry;
}

Result<AuditHead> decode_head(Bytes bytes) {
  SEDGE_TRY(const AuditHead head, wire::decode<AuditHead>(bytes));
  if (head.index == 0 && head.hash != Digest{}) return fail(Code::kDataLoss, "an empty chain has no hash");
  return head;
}

Status verify_entry(const Directory& directory, const AuditEntry& entry) {
  return directory.verify(entry.node, kAuditEntryDomain, signed_part(entry), entry.signature);
}
Status verify_head(const Directory& directory, const AuditHead& head) {
  return directory.verify(head.node, kAuditHeadDomain, signed_part(head), head.signature);
}

AuditProof make_proof(const AuditStatement& first, const AuditStatement& second) {
  AuditProof proof{tagged(first), tagged(second)};
  if (proof.second < proof.first) std::swap(proof.first, proof.second);  // whoever finds it finds the same one
  return proof;
}

std::vector<std::pair<std::uint64_t, Digest>> claims_of(const AuditStatement& statement) {
  std::vector<std::pair<std::uint64_t, Digest>> claims;
  if (const auto* head = std::get_if<AuditHead>(&statement)) {
    if (head->index > 0) claims.emplace_back(head->index, head->hash);
    return claims;
  }
  const AuditEntry& entry = std::get<AuditEntry>(statement);
  claims.emplace_back(entry.index, hash_of(entry));
  if (entry.index > 1) claims.emplace_back(entry.index - 1, entry.previous);
  return claims;
}

Result<Equivocation> verify_proof(const Directory& directory, const AuditProof& proof) {
  SEDGE_TRY(const AuditStatement first, untagged(directory, proof.first));
  SEDGE_TRY(const AuditStatement second, untagged(directory, proof.second));
  if (node_of(first) != node_of(second)) return fail(Code::kFailedPrecondition, "the two are of different nodes");
  for (const auto& [index, hash] : claims_of(first)) {
    for (const auto& [other_index, other_hash] : claims_of(second)) {
      if (index == other_index && hash != other_hash) return Equivocation{node_of(first), index};
    }
  }
  return fail(Code::kFailedPrecondition, "the two agree with each other");
}

}  // namespace sedge::trust
