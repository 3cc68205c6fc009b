// A new key for a home that stays the same node: its name, grants and state, under another id (trust/rotation.h).
//
// At no moment may the home be without an identity that the fleet takes, wherever the power goes. So the key in use is
// not touched until the certificate for the next one is here:
//
//   next.key    made and kept before anybody is asked: a try that broke off goes on with it, so that the invitation it
//               spent is still good; until then the home runs as before
//   next.cert   from here on the rotation is decided, and whoever opens the home finishes it:
//               former.cert := node.cert, node.key := next.key, node.cert := next.cert, then next.key and next.cert go
//
// Each step replaces one file whole and may be done twice. One file for both key and certificate would need one rename,
// and every home that exists to be rewritten.
//
// An issuer's key is replaced in the same way: next-issuer.key, next-issuer.cert (signed by the root: it decides), then
// former-issuer.cert, issuer.key, issuer.cert, and node.cert, which the new key signs for the node key that there is.
// The members of the former issuer stay what they are until the root retires it (docs/adr/0021).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "trust/certificate.h"
#include "trust/invitation.h"
#include "trust/revocation.h"
#include "wire/consensus_messages.h"

namespace sedge::platform {

struct Rotated {
  trust::CertificateChain chain;
  NodeId former;
};

// Finishes a rotation that was decided; none: there is none. The caller holds the home's lock.
// Errors: DataLoss: a file of it is damaged or belongs to another; those of the file system.
Result<std::optional<Rotated>> finish_rotation(const std::filesystem::path& home);

// Takes a new key for the home, which nobody may be running. Where it holds an issuer's key and no invitation is given,
// it signs its own certificate; else the invitation is one for its next key. A rotation that was decided before is
// finished, and nothing else is done.
// Errors: FailedPrecondition: the home is in use, belongs to no fleet, has not run under the key that it took last, or
// is one of two voters; InvalidArgument: an invitation is needed, or is of another fleet; PermissionDenied: this issuer
// may not revoke that name; those of join(), of the store and of the file system.
Result<Rotated> rotate_node(const std::filesystem::path& home, const std::optional<trust::Invitation>& invitation,
                            const std::vector<std::string>& seeds, Duration patience);

struct RotatedIssuer {
  trust::Certificate issuer;
  NodeId former;
};

// As above, of an issuer's key.
Result<std::optional<RotatedIssuer>> finish_issuer_rotation(const std::filesystem::path& home);

// Takes a new issuer's key for the home, which nobody may be running, signed by the root's key in the file `root_key`.
// Errors: FailedPrecondition: the home is in use, holds no issuer's key, or its former issuer is not retired yet;
// InvalidArgument: the root key is of another fleet; those of the file system.
Result<RotatedIssuer> rotate_issuer(const std::filesystem::path& home, const std::filesystem::path& root_key);

// The root's revocation of the home's former issuer; what was written by nodes below it stays. For the running node to
// spread. Errors: FailedPrecondition: there is no former issuer; InvalidArgument: the root key is of another fleet.
Result<trust::Revocation> retire_issuer(const std::filesystem::path& home, const std::filesystem::path& root_key);

// The root's order that only `quorum.voters` go on (trust/quorum.h), encoded; its group is drawn. Errors: as above, of
// the root's key.
Result<Buffer> force_quorum(const std::filesystem::path& home, const std::filesystem::path& root_key,
                            wire::ForcedQuorum quorum);

}  // namespace sedge::platform
