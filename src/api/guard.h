// Who may talk to the HTTP server. A server on loopback is still within reach of every web page that a browser on the
// same machine shows: a page may send forms to 127.0.0.1, and by DNS rebinding even read answers. So requests must
// name us as we are (Host), come from a page of ours or from none (Origin), and post JSON, which a form cannot.
// Anywhere but on loopback a bearer token is demanded; who proves it may call the machine by any name.
#pragma once

#include <optional>
#include <string_view>

#include "api/openai.h"
#include "env/endpoint.h"

namespace sedge::api {

struct Caller {
  std::string_view host, origin, authorization;  // the headers; empty where absent
};

// None: let in. Errors: 400 no Host, 401 no or a wrong token, 403 a foreign Host or Origin.
// `token` empty: none is demanded. `local`: the address at which the connection arrived.
std::optional<ApiError> check_caller(const Caller& caller, std::string_view token, const env::Endpoint& local);

// For a request with a body. Errors: 415.
std::optional<ApiError> check_content_type(std::string_view content_type);

}  // namespace sedge::api
