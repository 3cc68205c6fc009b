#include "trust/invitation.h"

#include <algorithm>

#include "base/assert.h"
#include "trust/certificate.h"
#include "trust/join.h"
#include "wire/codec.h"

namespace sedge::trust {
namespace {

constexpr std::string_view kPrefix = "sedge1:";
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kTextBytesMax = 4096;
constexpr std::size_t kSeedBytesMax = 128;

Buffer key_of(std::uint64_t serial) {
  Buffer key(8);
  for (std::size_t i = 0; i < 8; ++i) key[i] = static_cast<std::uint8_t>(serial >> (56 - 8 * i));
  return key;
}

Status check_seeds(const std::vector<std::string>& seeds) {
  if (seeds.size() > kSeedsMax) return fail(Code::kInvalidArgument, "{} seeds; at most {}", seeds.size(), kSeedsMax);
  for (const std::string& seed : seeds) {
    if (seed.empty() || seed.size() > kSeedBytesMax) {
      return fail(Code::kInvalidArgument, "a seed of {} bytes: write 192.168.1.7:7334", seed.size());
    }
  }
  return {};
}

}  // namespace

Verifier verifier_of(const InvitationSecret& secret) { return digest(as_bytes("sedge.invitation.1"), secret); }

std::string invitation_text(const Invitation& invitation) {
  Buffer bytes = wire::encode(invitation);
  const Digest sum = digest(bytes);
  bytes.insert(bytes.end(), sum.begin(), sum.begin() + kChecksumBytes);
  return std::string(kPrefix) + to_base64url(bytes);
}

Result<Invitation> parse_invitation(std::string_view text) {
  const auto wrong = [](std::string_view why) {
    return fail(Code::kInvalidArgument, "not an invitation: {}; paste the whole line that `sedge fleet invite` printed",
                why);
  };
  if (!text.starts_with(kPrefix)) return wrong("it does not begin with 'sedge1:'");
  if (text.size() > kTextBytesMax) return wrong("it is too long");
  const auto bytes = from_base64url(text.substr(kPrefix.size()));
  if (!bytes || bytes->size() <= kChecksumBytes) return wrong("mistyped or cut short");
  const Bytes body = Bytes(*bytes).first(bytes->size() - kChecksumBytes);
  const Digest sum = digest(body);
  if (!std::equal(sum.begin(), sum.begin() + kChecksumBytes, bytes->end() - kChecksumBytes)) {
    return wrong("mistyped or cut short");
  }
  auto invitation = wire::decode<Invitation>(body);
  if (!invitation) return wrong(invitation.error().message);
  SEDGE_CHECK(check_seeds(invitation->seeds));
  if (invitation->name && !valid_name(*invitation->name)) return wrong("the name in it is none");
  return invitation;
}

Status InvitationBook::load(Bytes key, Bytes value) {
  if (key.size() != 8) return fail(Code::kDataLoss, "an invitation's key has 8 bytes, this has {}", key.size());
  std::uint64_t serial = 0;
  for (const std::uint8_t byte : key) serial = serial << 8 | byte;
  SEDGE_TRY(Invited invited, wire::decode<Invited>(value));
  entries_.insert_or_assign(serial, std::move(invited));
  last_serial_ = std::max(last_serial_, serial);
  return {};
}

Result<InvitationBook::Issued> InvitationBook::invite_with(const Issue& issue, const InvitationSecret& secret) {
  SEDGE_CHECK(check_seeds(issue.seeds));
  SEDGE_CHECK(issue.grants.validate());
  if (issue.name && !valid_name(*issue.name)) {
    return fail(Code::kInvalidArgument, "'{}' is no name: 1 to {} printable bytes", *issue.name, kNameBytesMax);
  }
  Issued issued;
  if (entries_.size() >= kInvitationsMax) {
    const auto spent =
        std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) { return entry.second.spent_by; });
    if (spent == entries_.end()) {
      return fail(Code::kResourceExhausted, "{} invitations are open: withdraw some first", entries_.size());
    }
    issued.forgotten = Record{key_of(spent->first), {}};
    entries_.erase(spent);
  }
  const std::uint64_t serial = ++last_serial_;
  const Invited invited{verifier_of(secret), issue.name, issue.grants, std::nullopt};
  entries_.emplace(serial, invited);
  issued.invitation = {issue.issuer, issue.root, secret, serial, issue.seeds, issue.name};
  issued.record = {key_of(serial), wire::encode(invited)};
  return issued;
}

Result<Invited> InvitationBook::check(const JoinRequest& request, const Exporter& exporter) const {
  const auto refused = [] {
    return fail(Code::kUnauthenticated, "this invitation is unknown or was used already: ask for a new one");
  };
  const auto entry = entries_.find(request.serial);
  if (entry == entries_.end() || !check_proof(entry->second.verifier, exporter, request)) return refused();
  const auto& spent_by = entry->second.spent_by;
  if (spent_by && *spent_by != request.key) return refused();
  return entry->second;
}

InvitationBook::Record InvitationBook::spend(const JoinRequest& request) {
  const auto entry = entries_.find(request.serial);
  SEDGE_ASSERT(entry != entries_.end());
  entry->second.spent_by = request.key;
  return {key_of(request.serial), wire::encode(entry->second)};
}

std::optional<InvitationBook::Record> InvitationBook::withdraw(std::uint64_t serial) {
  if (entries_.erase(serial) == 0) return std::nullopt;
  return Record{key_of(serial), {}};
}

}  // namespace sedge::trust
