// The issuer's side of joining: makes invitations, and answers who comes with one. The order is the point: a spent
// invitation is durable before the certificate leaves, so that a crash in between can cost the joiner a retry (with
// the same key it gets the same answer) but never admits two machines on one invitation.
// A member that wants a new key joins again, on an invitation that names it (trust/rotation.h); its former id is to be
// revoked once the successor is a member, and until then the rotation stays on disk.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "env/entropy.h"
#include "env/outbox.h"
#include "env/when_durable.h"
#include "trust/audit.h"
#include "trust/certificate.h"
#include "trust/invitation.h"
#include "trust/join.h"
#include "trust/keys.h"
#include "trust/revocation.h"
#include "trust/rotation.h"

namespace sedge::node {

struct IssuerOptions {
  trust::Seed key{};  // of the issuer's own key
  trust::Certificate certificate;
  trust::PublicKey root;
};

class Enroller {
 public:
  void set_seeds(std::vector<std::string> seeds) { seeds_ = std::move(seeds); }  // of what is signed from now on

  Enroller(const IssuerOptions& issuer, trust::FleetSecret fleet_secret, std::vector<std::string> seeds,
           env::Entropy& entropy);

  static std::vector<std::string> buckets();
  Status load(std::string_view bucket, Bytes key, Bytes value);

  // Told of each machine that is let in, in the same commit that spends its invitation.
  void on_enrolled(std::function<void(const trust::AuditEnrolled&)> callback) { enrolled_ = std::move(callback); }
  NodeId issuer() const { return trust::node_id_of(key_.public_key()); }

  // `shown` gets the invitation's text once it is durable. Errors (through `shown`): as InvitationBook::invite.
  using Shown = std::function<void(const Result<std::string>&)>;
  void invite(std::optional<std::string> name, std::optional<trust::Grants> grants, Shown shown);

  // One for the next key of the node that `former` is the chain of: with its name and its grants. Errors (through
  // `shown`): as InvitationBook::invite; PermissionDenied: this issuer could not revoke the former id.
  void invite_successor(const trust::CertificateChain& former, Shown shown);

  // Rotations whose former id is not revoked yet, by serial.
  const std::map<std::uint64_t, trust::Replacement>& replacements() const { return replacements_; }
  // The former id is revoked: its rotations are over, and an invitation for one that nobody used is withdrawn.
  void forget_replacements(NodeId former);

  // A signed revocation of a node by this issuer. `chain` is the subject's.
  Result<Buffer> revoke(const trust::CertificateChain& chain, trust::Cut cut) const;

  void on_request(std::uint64_t handle, const trust::JoinRequest& request, const trust::Exporter& exporter,
                  const std::optional<trust::Rotation>& rotation = std::nullopt);

  struct Answer {
    std::uint64_t handle = 0;
    std::variant<trust::JoinGrant, trust::JoinRefusal> message;
  };
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }

  void drain(env::Outbox& out);
  void on_persisting(env::Lsn lsn) { waiting_.on_persisting(lsn); }
  void on_durable(env::Lsn upto) { waiting_.on_durable(upto); }

 private:
  void after(trust::InvitationBook::Record record, std::function<void()> then);
  void persist(std::string_view bucket, Buffer key, Buffer value);
  Status check_former(const trust::Invited& invited, const trust::JoinRequest& request,
                      const std::optional<trust::Rotation>& rotation) const;
  void invite_for(const trust::InvitationBook::Issue& issue, std::optional<trust::CertificateChain> former,
                  Shown shown);

  trust::SecretKey key_;
  trust::Certificate certificate_;
  trust::PublicKey root_;
  trust::FleetSecret fleet_secret_;
  std::vector<std::string> seeds_;
  env::Entropy& entropy_;
  trust::InvitationBook book_;
  std::map<std::uint64_t, trust::Replacement> replacements_;
  std::vector<env::Record> records_;
  env::WhenDurable waiting_;
  std::vector<Answer> answers_;
  std::function<void(const trust::AuditEnrolled&)> enrolled_;
};

}  // namespace sedge::node
