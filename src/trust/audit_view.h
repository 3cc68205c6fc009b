// What one node holds of another's chain, from whomever it came: entries, heads that others remember, checkpoints. It
// answers what is wrong with all of it, and the answer is a function of the set of statements: order and repetition
// do not matter (a law, tested), so two auditors with the same evidence say the same.
//
// Every statement is reduced to what it says of single numbers: "the entry with this number has this hash". Two hashes
// for one number are an equivocation, wherever they came from: an entry against an entry, an entry's `previous` against
// the entry before it, a remembered head against a chain that was rewritten since.
// A node may give up old entries behind a checkpoint, but keeps the newest kAuditKept: who shows fewer hides some.
// Statements are handed in verified. Bounded: kEntriesMax entries, kHeadsMax heads; beyond, more are refused, and who
// fills another's view so does it with its own signature, many times over one number.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trust/audit.h"

namespace sedge::trust {

struct AuditFinding {
  enum class Kind : std::uint8_t {
    kEquivocation,  // two hashes for one number, both signed: `proof`
    kGap,           // numbers in between that nobody showed
    kBehind,        // it signed a head beyond the last entry that it shows: its end was cut off
  };
  Kind kind = Kind::kGap;
  std::uint64_t first = 0;  // the numbers that it is about, both included
  std::uint64_t last = 0;
  std::optional<AuditProof> proof;
  friend bool operator==(const AuditFinding&, const AuditFinding&) = default;
};
std::string_view finding_name(AuditFinding::Kind kind);

class AuditView {
 public:
  static constexpr std::size_t kEntriesMax = 16384;
  static constexpr std::size_t kHeadsMax = 1024;
  explicit AuditView(std::uint64_t kept = kAuditKept) : kept_(kept) {}

  // Errors: ResourceExhausted: full, nothing changed.
  Status add(const AuditEntry& entry);
  Status add(const AuditHead& head);

  std::vector<AuditFinding> findings() const;
  // By number; of two with one number the one with the smaller hash first.
  std::vector<const AuditEntry*> entries() const;
  std::size_t size() const { return entries_.size(); }
  std::uint64_t last() const;                               // number of the newest entry, or of a checkpoint beyond it
  std::uint64_t checkpoint() const { return checkpoint_; }  // the highest; 0: none

 private:
  using Numbered = std::pair<std::uint64_t, Digest>;
  using Claims = std::map<std::uint64_t, std::map<Digest, AuditStatement>>;
  Claims claims() const;
  void find_gaps(std::vector<AuditFinding>& findings) const;

  std::uint64_t kept_;
  std::map<Numbered, AuditEntry> entries_;
  std::map<Numbered, AuditHead> heads_;
  std::uint64_t checkpoint_ = 0;
  std::uint64_t newest_head_ = 0;
};

}  // namespace sedge::trust
