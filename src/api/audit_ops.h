// The control socket's two questions about the audit (docs/formats/control.md): what is written down, and is it whole.
#pragma once

#include "api/control_ops.h"

namespace sedge::api {

// One answer an entry. With `node`, that member's chain is fetched first.
Status audit_log(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);

// One answer a chain, then the verdict. With `fleet`, every member's chain is fetched first; those out of reach are
// named.
Status audit_verify(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);

// What an entry says, for machines; a kind that this build does not know shows its body as it is.
json::Object entry_object(const trust::AuditEntry& entry);

}  // namespace sedge::api
