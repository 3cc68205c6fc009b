#include "platform/socket_address.h"

#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace sedge::platform {

SocketAddress to_socket_address(const env::Endpoint& endpoint, int family) {
  SocketAddress address;
  if (family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.data() + 12, 4);
    address.length = sizeof v4;
    return address;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(endpoint.port);
  v6.sin6_scope_id = endpoint.scope;
  std::memcpy(&v6.sin6_addr, endpoint.address.data(), 16);
  address.length = sizeof v6;
  return address;
}

env::Endpoint from_socket_address(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    const auto* ip = reinterpret_cast<const std::uint8_t*>(&v4->sin_addr);
    return env::Endpoint::v4(ip[0], ip[1], ip[2], ip[3], ntohs(v4->sin_port));
  }
  env::Endpoint endpoint;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  std::memcpy(endpoint.address.data(), &v6->sin6_addr, 16);
  endpoint.port = ntohs(v6->sin6_port);
  const bool link_local = endpoint.address[0] == 0xfe && (endpoint.address[1] & 0xc0) == 0x80;
  if (link_local) endpoint.scope = v6->sin6_scope_id;
  return endpoint;
}

}  // namespace sedge::platform
