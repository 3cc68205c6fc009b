#include "api/guard.h"

#include <algorithm>
#include <string>

#include "trust/keys.h"

namespace sedge::api {
namespace {

char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter; }

bool same_word(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

// "host", "host:port", "[v6]:port".
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// Whether that name can only mean this machine as we listen on it.
bool is_ours(std::string_view host, const env::Endpoint& local) {
  const std::string_view name = without_port(host);
  if (same_word(name, "localhost")) return true;
  const auto address = env::Endpoint::parse(std::string(name) + ":0");
  return address && (address->is_loopback() || address->address == local.address);
}

ApiError refused(unsigned status, std::string message, std::string code) {
  ApiError error = invalid(std::move(message), {}, std::move(code));
  error.status = status;
  return error;
}

bool proves(std::string_view authorization, std::string_view token) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size() || !same_word(authorization.substr(0, kScheme.size()), kScheme))
    return false;
  // Digests, so that neither the length nor the place of the first wrong letter shows in the time taken.
  return trust::equal(trust::digest(as_bytes(authorization.substr(kScheme.size()))), trust::digest(as_bytes(token)));
}

}  // namespace

std::optional<ApiError> check_caller(const Caller& caller, std::string_view token, const env::Endpoint& local) {
  if (caller.host.empty()) return refused(400, "the request has no Host header", "missing_host");
  if (!token.empty() && !proves(caller.authorization, token)) {
    return refused(401, "a bearer token is needed: Authorization: Bearer <the token the node was started with>",
                   "invalid_api_key");
  }
  if (token.empty() && !is_ours(caller.host, local)) {
    return refused(403,
                   fmt::format("Host '{}' is not this server; use localhost or the address it listens on", caller.host),
                   "foreign_host");
  }
  if (caller.origin.empty()) return std::nullopt;
  const auto scheme = caller.origin.find("://");
  if (scheme != std::string_view::npos && is_ours(caller.origin.substr(scheme + 3), local)) return std::nullopt;
  return refused(403, fmt::format("pages of '{}' may not use this server", caller.origin), "foreign_origin");
}

std::optional<ApiError> check_content_type(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (same_word(type, "application/json")) return std::nullopt;
  return refused(415, "the body must be JSON: Content-Type: application/json", "unsupported_media_type");
}

}  // namespace sedge::api
