// env::Endpoint to and from the system's socket addresses.
#pragma once

#include <sys/socket.h>

#include "env/endpoint.h"

namespace sedge::platform {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// `family` AF_INET6 writes IPv4 mapped; AF_INET needs an IPv4 endpoint.
SocketAddress to_socket_address(const env::Endpoint& endpoint, int family);
env::Endpoint from_socket_address(const sockaddr* address);

}  // namespace sedge::platform
