// The node's door for its own machine: a Unix socket in $SEDGE_HOME, mode 0600, that the command line speaks to. One
// JSON object a line each way: a request names its `op`; answers follow until `end` (docs/formats/control.md). Whoever
// may open the socket may do what the node may do, as with any file of that owner.
#pragma once

#include <functional>
#include <memory>

#include "base/json.h"
#include "base/result.h"
#include "platform/runtime.h"

namespace sedge::api {

inline constexpr const char* kControlSocket = "control.sock";

class ControlServer {
 public:
  // Listens in the runtime's home, on its loop. Errors: Unavailable, naming the path (it must be under 108 bytes).
  static Result<std::unique_ptr<ControlServer>> start(platform::Runtime& runtime);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  class Acceptor;
  explicit ControlServer(std::unique_ptr<Acceptor> acceptor);
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace sedge::api
