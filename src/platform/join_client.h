// `sedge fleet join`: one exchange with an issuer, then a home that belongs to the fleet.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "trust/invitation.h"
#include "trust/join.h"
#include "trust/keys.h"

namespace sedge::platform {

// Tries the invitation's seeds (or `seeds`, when given) in turn until one grants or `patience` is over.
// Errors: Unavailable: nobody answered, with what each address said; PermissionDenied/Unauthenticated: refused.
Result<trust::JoinGrant> join(const trust::Invitation& invitation, const trust::SecretKey& key, const std::string& name,
                              const std::vector<std::string>& seeds, Duration patience);

}  // namespace sedge::platform
