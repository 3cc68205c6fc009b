// The command line's end of the control socket (api/control_server.h).
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace sedge::apps {

// True when a node runs on this home.
bool node_runs(const std::filesystem::path& home);

// Sends one request and hands every answer to `on_line` until the end or until it returns false.
// Errors: those the node answers with; Unavailable: no node runs there (says how to start one).
Status ask(const std::filesystem::path& home, const json::Object& request,
           const std::function<bool(const json::Object&)>& on_line);

// For requests with one answer.
Result<json::Object> ask_once(const std::filesystem::path& home, const json::Object& request);

}  // namespace sedge::apps
