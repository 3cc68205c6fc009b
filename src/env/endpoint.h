// An address on a network: IPv4 or IPv6 with a port. IPv4 is kept mapped into IPv6 (::ffff:a.b.c.d), so that
// there is one form to compare, hash and put on the wire.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace sedge::env {

struct Endpoint {
  std::array<std::uint8_t, 16> address{};  // network order
  std::uint16_t port = 0;                  // host order
  std::uint32_t scope = 0;                 // interface index of a link-local IPv6 address, else 0; never on the wire

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;

  bool is_v4() const;
  bool is_loopback() const;
  bool is_unspecified() const;

  static Endpoint v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port);

  // "192.168.1.7:7334", "[fe80::1]:7334". Names are resolved by the platform, not here.
  // Errors: InvalidArgument, with what a right one looks like.
  static Result<Endpoint> parse(std::string_view text);
  std::string text() const;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("address", address);
    visit("port", port);
  }
};

}  // namespace sedge::env
