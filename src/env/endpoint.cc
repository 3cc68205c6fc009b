#include "env/endpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>  // inet_pton and inet_ntop only: text to bytes and back, no socket

namespace sedge::env {
namespace {

constexpr std::array<std::uint8_t, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

bool Endpoint::is_v4() const { return std::equal(kV4Prefix.begin(), kV4Prefix.end(), address.begin()); }

bool Endpoint::is_loopback() const {
  if (is_v4()) return address[12] == 127;
  return std::all_of(address.begin(), address.end() - 1, [](auto byte) { return byte == 0; }) && address[15] == 1;
}

bool Endpoint::is_unspecified() const {
  const auto from = address.begin() + (is_v4() ? 12 : 0);
  return std::all_of(from, address.end(), [](auto byte) { return byte == 0; });
}

Endpoint Endpoint::v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  Endpoint endpoint;
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), endpoint.address.begin());
  endpoint.address[12] = a;
  endpoint.address[13] = b;
  endpoint.address[14] = c;
  endpoint.address[15] = d;
  endpoint.port = port;
  return endpoint;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto wrong = [&] {
    return fail(Code::kInvalidArgument, "'{}' is not an address: write 192.168.1.7:7334 or [fe80::1]:7334", text);
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  const std::string_view digits = text.substr(colon + 1);
  Endpoint endpoint;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return wrong();

  std::string host(text.substr(0, colon));
  if (host.front() == '[') {
    if (host.back() != ']') return wrong();
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), endpoint.address.data()) != 1) return wrong();
    return endpoint;
  }
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), endpoint.address.begin());
  if (inet_pton(AF_INET, host.c_str(), endpoint.address.data() + 12) != 1) return wrong();
  return endpoint;
}

std::string Endpoint::text() const {
  char host[INET6_ADDRSTRLEN] = {};
  if (is_v4()) {
    inet_ntop(AF_INET, address.data() + 12, host, sizeof host);
    return fmt::format("{}:{}", host, port);
  }
  inet_ntop(AF_INET6, address.data(), host, sizeof host);
  return fmt::format("[{}]:{}", host, port);
}

}  // namespace sedge::env
