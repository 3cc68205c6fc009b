#include "node/enroller.h"

#include <algorithm>
#include <utility>

namespace sedge::node {

Enroller::Enroller(const IssuerOptions& issuer, trust::FleetSecret fleet_secret, std::vector<std::string> seeds,
                   env::Entropy& entropy)
    : key_(issuer.key),
      certificate_(issuer.certificate),
      root_(issuer.root),
      fleet_secret_(fleet_secret),
      seeds_(std::move(seeds)),
      entropy_(entropy) {}

void Enroller::after(trust::InvitationBook::Record record, std::function<void()> then) {
  const bool erase = record.value.empty();
  records_.push_back({.bucket = std::string(trust::InvitationBook::kBucket),
                      .key = std::move(record.key),
                      .value = std::move(record.value),
                      .erase = erase});
  waiting_.push_back({.lsn = std::nullopt, .then = std::move(then)});
}

void Enroller::invite(std::optional<std::string> name, std::optional<trust::Grants> grants, Shown shown) {
  trust::InvitationBook::Issue issue{
      .issuer = key_.public_key(), .root = trust::fingerprint(root_), .seeds = seeds_, .name = std::move(name)};
  if (grants) issue.grants = std::move(*grants);
  auto issued = book_.invite(issue, entropy_);
  if (!issued) return shown(std::unexpected(issued.error()));
  if (issued->forgotten) after(std::move(*issued->forgotten), [] {});
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

void Enroller::on_request(std::uint64_t handle, const trust::JoinRequest& request, const trust::Exporter& exporter) {
  const auto invited = book_.check(request, exporter);
  if (!invited) {
    answers_.push_back({handle, trust::JoinRefusal{invited.error().message}});
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
  after(book_.spend(request), [this, handle, grant = std::move(*grant)] { answers_.push_back({handle, grant}); });
}

void Enroller::drain(env::Outbox& out) {
  out.records.insert(out.records.end(), std::make_move_iterator(records_.begin()),
                     std::make_move_iterator(records_.end()));
  records_.clear();
}

void Enroller::on_persisting(env::Lsn lsn) {
  for (Waiting& each : waiting_) {
    if (!each.lsn) each.lsn = lsn;
  }
}

void Enroller::on_durable(env::Lsn upto) {
  const auto done = std::stable_partition(waiting_.begin(), waiting_.end(),
                                          [upto](const Waiting& each) { return !each.lsn || *each.lsn > upto; });
  std::vector<Waiting> ready(std::make_move_iterator(done), std::make_move_iterator(waiting_.end()));
  waiting_.erase(done, waiting_.end());
  for (const Waiting& each : ready) each.then();
}

}  // namespace sedge::node
