// HTTP for clients that speak no QUIC: OpenAI's completion API, health, and metrics (docs/formats/http.md). It lives on
// the node's own loop thread: a handler calls the node directly, so an answer costs no hand-over between threads.
// Each connection is one coroutine that reads a request, runs it, and writes the answer; how far a model may run ahead
// of a slow reader is the task's credit, given back as the socket takes the text.
// A thread a connection was rejected (256 stacks on a small board, and every call would have to be posted).
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "env/endpoint.h"

namespace sedge::platform {
class Runtime;
}

namespace sedge::api {

class HttpListener;

inline constexpr const char* kDefaultListen = "127.0.0.1:7335";

struct HttpOptions {
  std::string listen = kDefaultListen;  // HOST:PORT; port 0: any
  std::string bearer_token;             // empty: none demanded, which is allowed on loopback alone
};

class HttpServer {
 public:
  // Requires: before runtime.run(), or on its loop; the runtime outlives the server.
  // Errors: FailedPrecondition (not loopback and no token), InvalidArgument and Unavailable (the address).
  static Result<std::unique_ptr<HttpServer>> start(platform::Runtime& runtime, HttpOptions options);
  // Closes the listener and every connection; their tasks are cancelled if the loop still runs.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  env::Endpoint endpoint() const;  // where it listens

 private:
  explicit HttpServer(std::shared_ptr<HttpListener> listener);
  std::shared_ptr<HttpListener> listener_;
};

}  // namespace sedge::api
