// The control socket's questions about tensors (docs/formats/control.md): chunk by chunk, so that neither side ever
// holds the loop for long or a line grows without end.
#pragma once

#include "api/control_ops.h"

namespace sedge::api {

// A new version by its manifest: answers a number for it, and which chunks the node lacks.
Status tensor_begin(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);
// One of these.
Status tensor_give(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);
// The version becomes the path's value; answers when that is durable.
Status tensor_put(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);
// One answer a tensor that the filter chooses: what is whole here, and what is on its way.
Status tensor_info(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);
// One chunk of the whole version.
Status tensor_read(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);

}  // namespace sedge::api
