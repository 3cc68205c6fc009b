#include "trust/audit_view.h"

#include <algorithm>
#include <array>

namespace sedge::trust {

std::string_view finding_name(AuditFinding::Kind kind) {
  constexpr std::array<std::string_view, 3> kNames = {"equivocation", "gap", "behind"};
  return kNames.at(static_cast<std::size_t>(kind));
}

Status AuditView::add(const AuditEntry& entry) {
  const Numbered name{entry.index, hash_of(entry)};
  const auto known = entries_.find(name);
  if (known == entries_.end()) {
    if (entries_.size() >= kEntriesMax) return fail(Code::kResourceExhausted, "{} entries of one chain", kEntriesMax);
    entries_.emplace(name, entry);
  } else if (entry.signature < known->second.signature) {
    known->second = entry;  // the same statement, signed twice: everybody keeps the same one
  }
  return {};
}

Status AuditView::add(const AuditHead& head) {
  const Numbered name{head.index, head.hash};
  const auto known = heads_.find(name);
  const auto rank = [](const AuditHead& one) { return std::pair(!one.checkpoint, one.signature); };
  if (known == heads_.end()) {
    if (heads_.size() >= kHeadsMax) return fail(Code::kResourceExhausted, "{} heads of one chain", kHeadsMax);
    heads_.emplace(name, head);
  } else if (rank(head) < rank(known->second)) {
    known->second = head;
  }
  if (head.checkpoint) checkpoint_ = std::max(checkpoint_, head.index);
  newest_head_ = std::max(newest_head_, head.index);
  return {};
}

std::uint64_t AuditView::last() const {
  return entries_.empty() ? checkpoint_ : std::max(checkpoint_, entries_.rbegin()->first.first);
}

std::vector<const AuditEntry*> AuditView::entries() const {
  std::vector<const AuditEntry*> all;
  for (const auto& [name, entry] : entries_) all.push_back(&entry);
  return all;
}

// For each number every hash that was signed for it, and by which statement: the first in order of entries, then heads.
AuditView::Claims AuditView::claims() const {
  Claims claims;
  const auto claim = [&claims](const AuditStatement& statement) {
    for (const auto& [index, hash] : claims_of(statement)) claims[index].try_emplace(hash, statement);
  };
  for (const auto& [name, entry] : entries_) claim(entry);
  for (const auto& [name, head] : heads_) claim(head);
  return claims;
}

void AuditView::find_gaps(std::vector<AuditFinding>& findings) const {
  const std::uint64_t end = last();
  const std::uint64_t oldest_kept = end > kept_ ? end - kept_ + 1 : 1;
  std::uint64_t next = checkpoint_ == 0 ? 1 : std::min(checkpoint_ + 1, oldest_kept);
  const auto gap = [&findings](std::uint64_t first, std::uint64_t past) {
    if (first < past) findings.push_back({AuditFinding::Kind::kGap, first, past - 1, std::nullopt});
  };
  for (const auto& [name, entry] : entries_) {
    if (name.first < next) continue;
    gap(next, name.first);
    next = name.first + 1;
  }
  gap(next, end + 1);
}

std::vector<AuditFinding> AuditView::findings() const {
  std::vector<AuditFinding> findings;
  for (const auto& [index, hashes] : claims()) {
    if (hashes.size() < 2) continue;
    const AuditProof proof = make_proof(hashes.begin()->second, std::next(hashes.begin())->second);
    findings.push_back({AuditFinding::Kind::kEquivocation, index, index, proof});
  }
  find_gaps(findings);
  if (newest_head_ > last()) {
    findings.push_back({AuditFinding::Kind::kBehind, last() + 1, newest_head_, std::nullopt});
  }
  return findings;
}

}  // namespace sedge::trust
