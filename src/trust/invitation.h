// One-time invitations. An issuer makes one, a person carries its text to the new machine (a line to paste, or a QR
// code), and the machine joins with it:
//
//   sedge1: base64url( encoded Invitation | first 4 bytes of its BLAKE2b-256 )
//
// The checksum tells a mistyped text from a refused one. The text names the issuer and the root's fingerprint, so the
// joiner knows whom to believe before it says anything. What the new node will be allowed to do is not in the text:
// the issuer's book has it, and a joiner cannot raise it.
// The book holds, of each secret, only the derived key that checks proofs. A secret is spent durably before the
// certificate leaves, and it is spent on one key: if the answer is lost on the way, that machine may ask again, and
// gets the same name and grants; any other machine is refused.
// Grammar: docs/formats/invitation.md.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trust/grants.h"
#include "trust/keys.h"

namespace sedge::trust {

using InvitationSecret = std::array<std::uint8_t, 16>;
using Verifier = Digest;                           // derived from an invitation's secret; keys its proofs
using FleetSecret = std::array<std::uint8_t, 32>;  // known to every enrolled node; keys the beacons

inline constexpr std::size_t kSeedsMax = 16;
inline constexpr std::size_t kInvitationsMax = 1024;

struct Invitation {
  PublicKey issuer;
  Fingerprint root{};
  InvitationSecret secret{};
  std::uint64_t serial = 0;         // in the issuer's book
  std::vector<std::string> seeds;   // "192.168.1.7:7334": where the issuer listens
  std::optional<std::string> name;  // that the node shall have
  friend bool operator==(const Invitation&, const Invitation&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("issuer", issuer);
    visit("root", root);
    visit("secret", secret);
    visit("serial", serial);
    visit("seeds", seeds);
    visit("name", name);
  }
};

std::string invitation_text(const Invitation& invitation);
// Errors: InvalidArgument: mistyped, cut short, or no invitation at all.
Result<Invitation> parse_invitation(std::string_view text);

Verifier verifier_of(const InvitationSecret& secret);

// What the issuer remembers of one invitation.
struct Invited {
  Verifier verifier{};
  std::optional<std::string> name;
  Grants grants;
  std::optional<PublicKey> spent_by;
  friend bool operator==(const Invited&, const Invited&) = default;
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("verifier", verifier);
    visit("name", name);
    visit("grants", grants);
    visit("spent_by", spent_by);
  }
};

struct JoinRequest;
using Exporter = std::array<std::uint8_t, 32>;

// The issuer's book. It persists nothing itself: every change yields the record that must be durable before the
// caller goes on (bucket "invitations", key and value as below; an empty value erases).
class InvitationBook {
 public:
  struct Record {
    Buffer key;    // serial, 8 bytes, big-endian
    Buffer value;  // encoded Invited
  };

  static constexpr std::string_view kBucket = "invitations";

  Status load(Bytes key, Bytes value);

  struct Issue {
    PublicKey issuer;
    Fingerprint root{};
    std::vector<std::string> seeds;
    std::optional<std::string> name;
    Grants grants = Grants::of_a_node();
  };
  struct Issued {
    Invitation invitation;
    Record record;                    // persist, then show the text
    std::optional<Record> forgotten;  // an old spent invitation that made room: erase
  };
  // Errors: ResourceExhausted: kInvitationsMax open ones. InvalidArgument: seeds, name or grants.
  template <EntropySource E>
  Result<Issued> invite(const Issue& issue, E& entropy) {
    InvitationSecret secret;
    entropy.fill(secret);
    return invite_with(issue, secret);
  }

  // Errors: Unauthenticated for an unknown serial, a wrong proof, or a secret spent on another key: one message for
  // all three, so that a guesser learns nothing.
  Result<Invited> check(const JoinRequest& request, const Exporter& exporter) const;

  // Only after check() said yes (asserted): spends it on the request's key. Persist the record, and only when it is
  // durable make the grant.
  Record spend(const JoinRequest& request);

  // Withdraws an open invitation.
  std::optional<Record> withdraw(std::uint64_t serial);

  const std::map<std::uint64_t, Invited>& entries() const { return entries_; }

 private:
  Result<Issued> invite_with(const Issue& issue, const InvitationSecret& secret);

  std::map<std::uint64_t, Invited> entries_;
  std::uint64_t last_serial_ = 0;
};

}  // namespace sedge::trust
