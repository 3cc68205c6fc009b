#include "node/enroller.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"

namespace sedge::node {

Enroller::Enroller(const IssuerOptions& issuer, trust::FleetSecret fleet_secret, std::vector<std::string> seeds,
                   env::Entropy& entropy)
    : key_(issuer.key),
      certificate_(issuer.certificate),
      root_(issuer.root),
      fleet_secret_(fleet_secret),
      seeds_(std::move(seeds)),
      entropy_(entropy) {}

std::vector<std::string> Enroller::buckets() {
  return {std::string(trust::InvitationBook::kBucket), std::string(trust::Replacement::kBucket)};
}

Status Enroller::load(std::string_view bucket, Bytes key, Bytes value) {
  if (bucket == trust::InvitationBook::kBucket) return book_.load(key, value);
  SEDGE_TRY(const std::uint64_t serial, trust::replacement_serial(key));
  SEDGE_TRY(replacements_[serial], wire::decode<trust::Replacement>(value));
  return {};
}

// An empty value erases.
void Enroller::persist(std::string_view bucket, Buffer key, Buffer value) {
  const bool erase = value.empty();
  records_.push_back({.bucket = std::string(bucket), .key = std::move(key), .value = std::move(value), .erase = erase});
}

void Enroller::after(trust::InvitationBook::Record record, std::function<void()> then) {
  persist(trust::InvitationBook::kBucket, std::move(record.key), std::move(record.value));
  waiting_.add(std::move(then));
}

void Enroller::invite(std::optional<std::string> name, std::optional<trust::Grants> grants, Shown shown) {
  trust::InvitationBook::Issue issue{
      .issuer = key_.public_key(), .root = trust::fingerprint(root_), .seeds = seeds_, .name = std::move(name)};
  if (grants) issue.grants = std::move(*grants);
  invite_for(issue, std::nullopt, std::move(shown));
}

void Enroller::invite_successor(const trust::CertificateChain& former, Shown shown) {
  if (!certificate_.grants.allows(trust::Verb::kRevoke, former.node.name)) {
    return shown(
        fail(Code::kPermissionDenied,
             "this issuer may not revoke '{0}': its certificate lacks revoke:{0}, and a new key is of use only "
             "when the old one goes",
             former.node.name));
  }
  trust::InvitationBook::Issue issue{.issuer = key_.public_key(),
                                     .root = trust::fingerprint(root_),
                                     .seeds = seeds_,
                                     .name = former.node.name,
                                     .grants = former.node.grants};
  invite_for(issue, former, std::move(shown));
}

void Enroller::invite_for(const trust::InvitationBook::Issue& issue, std::optional<trust::CertificateChain> former,
                          Shown shown) {
  auto issued = book_.invite(issue, entropy_);
  if (!issued) return shown(std::unexpected(issued.error()));
  if (issued->forgotten) after(std::move(*issued->forgotten), [] {});
  if (former) {
    const std::uint64_t serial = issued->invitation.serial;
    const trust::Replacement& replacement = replacements_[serial] = {std::move(*former), std::nullopt, {}};
    persist(trust::Replacement::kBucket, trust::replacement_key(serial), wire::encode(replacement));
  }
  after(std::move(issued->record),
        [text = trust::invitation_text(issued->invitation), shown = std::move(shown)] { shown(text); });
}

Result<Buffer> Enroller::revoke(const trust::CertificateChain& chain, trust::Cut cut) const {
  if (!certificate_.grants.allows(trust::Verb::kRevoke, chain.node.name)) {
    return fail(Code::kPermissionDenied, "this issuer may not revoke '{}': its certificate lacks revoke:{}",
                chain.node.name, chain.node.name);
  }
  trust::Revocation revocation;
  revocation.subject = trust::node_id_of(chain.node.subject);
  revocation.cut = cut;
  revocation.by = trust::RevokedByIssuer{certificate_, chain};
  trust::sign_revocation(revocation, key_);
  return trust::encode_revocation(revocation);
}

void Enroller::forget_replacements(NodeId former) {
  for (auto at = replacements_.begin(); at != replacements_.end();) {
    const auto& [serial, replacement] = *at;
    if (trust::node_id_of(replacement.former.node.subject) != former) {
      ++at;
      continue;
    }
    persist(trust::Replacement::kBucket, trust::replacement_key(serial), {});
    if (!replacement.successor) {
      if (auto record = book_.withdraw(serial)) after(std::move(*record), [] {});
    }
    at = replacements_.erase(at);
  }
}

Status Enroller::check_former(const trust::Invited& invited, const trust::JoinRequest& request,
                              const std::optional<trust::Rotation>& rotation) const {
  const auto found = replacements_.find(request.serial);
  if (found == replacements_.end()) {
    if (!rotation || invited.spent_by) return {};  // by this key: it asks again after its rotation is over
    return fail(Code::kInvalidArgument,
                "this invitation is for no member's new key: `sedge fleet invite --replace NAME` makes one that is");
  }
  const trust::Certificate& former = found->second.former.node;
  if (rotation) return trust::check_rotation(former.subject, request.key, *rotation);
  return fail(Code::kInvalidArgument,
              "this invitation is for a new key of '{}': use it in its home, with `sedge fleet rotate-node`",
              former.name);
}

void Enroller::on_request(std::uint64_t handle, const trust::JoinRequest& request, const trust::Exporter& exporter,
                          const std::optional<trust::Rotation>& rotation) {
  const auto invited = book_.check(request, exporter);
  const Status former = invited ? check_former(*invited, request, rotation) : std::unexpected(invited.error());
  if (!former) {
    answers_.push_back({handle, trust::JoinRefusal{former.error().message}});
    return;
  }
  // Signed before it is spent: a name that cannot be given must not cost the invitation.
  auto grant = trust::make_grant({key_, certificate_}, root_, *invited, request, request.serial, fleet_secret_, seeds_,
                                 exporter);
  if (!grant) {
    answers_.push_back({handle, trust::JoinRefusal{grant.error().message}});
    return;
  }
  const auto chain = trust::decode_chain(grant->chain);
  if (enrolled_ && chain && !invited->spent_by) {  // a machine that asks again was let in before
    enrolled_({trust::node_id_of(request.key), chain->node.name, issuer(), request.serial});
  }
  if (const auto found = replacements_.find(request.serial); found != replacements_.end()) {
    found->second.successor = request.key;
    found->second.last = rotation->last;  // of its latest try: it may have written meanwhile
    persist(trust::Replacement::kBucket, trust::replacement_key(request.serial), wire::encode(found->second));
  }
  after(book_.spend(request), [this, handle, grant = std::move(*grant)] { answers_.push_back({handle, grant}); });
}

void Enroller::drain(env::Outbox& out) {
  out.records.insert(out.records.end(), std::make_move_iterator(records_.begin()),
                     std::make_move_iterator(records_.end()));
  records_.clear();
}

}  // namespace sedge::node
