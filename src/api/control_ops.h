// What can be asked through the control socket: one row an operation (control_ops.cc), each a function from a request
// to answers. No socket in here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "platform/runtime.h"

namespace sedge::api {

// One client's request under way; its next one waits. Operations answer through it, at once or later; `on_close`
// undoes what still runs when the client goes.
class ControlSession {
 public:
  virtual ~ControlSession() = default;
  virtual void answer(json::Object line) = 0;  // one line
  virtual void end() = 0;                      // no more answers to this request
  virtual void fail(const Error& error) = 0;   // an error line, then end
  std::vector<std::function<void()>> on_close;
};

using SessionRef = std::shared_ptr<ControlSession>;

// Runs the request's operation. Everything it does to the node is done when this returns, or goes on through `session`.
void control(platform::Runtime& runtime, const json::Object& request, const SessionRef& session);

// What `sedge status --json` shows.
json::Object status_report(platform::Runtime& runtime);

// Bytes in JSON: {"value": text} when it is UTF-8, else {"value_base64": base64url}.
void put_bytes(json::Object& object, const char* name, Bytes bytes);

}  // namespace sedge::api
