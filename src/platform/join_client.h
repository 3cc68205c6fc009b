// Joining a fleet: one exchange with an issuer, then a home that belongs to the fleet. For `sedge fleet join` and the
// C++ library.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "trust/certificate.h"
#include "trust/invitation.h"
#include "trust/join.h"
#include "trust/keys.h"
#include "trust/rotation.h"

namespace sedge::platform {

// Tries the invitation's seeds (or `seeds`, when given) in turn until one grants or `patience` is over.
// `rotation`: of a member that wants its certificate for a new key.
// Errors: Unavailable: nobody answered, with what each address said; PermissionDenied/Unauthenticated: refused.
Result<trust::JoinGrant> join(const trust::Invitation& invitation, const trust::SecretKey& key, const std::string& name,
                              const std::vector<std::string>& seeds, Duration patience,
                              const std::optional<trust::Rotation>& rotation = std::nullopt);

struct Enrolment {
  trust::CertificateChain chain;
  std::vector<std::string> seeds;  // HOST:PORT: whom to dial first
};

// Makes the home if there is none, joins, and writes what makes it a node's. A join that broke off goes on with the
// same key, so that the invitation it spent is still good. `name`: empty for the invitation's, else the host's.
// The caller has seen to it that the home belongs to no fleet.
// Errors: those of join(); of the file system.
Result<Enrolment> enrol(const std::filesystem::path& home, const trust::Invitation& invitation, const std::string& name,
                        const std::vector<std::string>& seeds, Duration patience);

}  // namespace sedge::platform
