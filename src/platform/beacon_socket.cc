#include "platform/beacon_socket.h"

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/socket_address.h"

namespace sedge::platform {
namespace {

in_addr v4_of(const env::Endpoint& endpoint) {
  in_addr address{};
  std::memcpy(&address, endpoint.address.data() + 12, 4);
  return address;
}

}  // namespace

BeaconSocket& BeaconSocket::operator=(BeaconSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(interfaces_, other.interfaces_);
  return *this;
}

BeaconSocket::~BeaconSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<BeaconSocket> BeaconSocket::open(const std::vector<env::Endpoint>& interfaces) {
  BeaconSocket beacons;
  beacons.fd_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto refused = [](const char* what) {
    return fail(Code::kUnavailable, "no multicast beacons ({}: {}): give --seed HOST:PORT of a running node", what,
                std::strerror(errno));
  };
  if (beacons.fd_ < 0) return refused("socket");
  const int yes = 1;
  ::setsockopt(beacons.fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  ::setsockopt(beacons.fd_, IPPROTO_IP, IP_MULTICAST_LOOP, &yes, sizeof yes);  // other nodes of this machine
  sockaddr_in bound{};
  bound.sin_family = AF_INET;
  bound.sin_port = htons(kPort);
  ::inet_pton(AF_INET, kGroup, &bound.sin_addr);
  if (::bind(beacons.fd_, reinterpret_cast<const sockaddr*>(&bound), sizeof bound) != 0) return refused("bind");
  for (const env::Endpoint& interface : interfaces) {
    if (!interface.is_v4()) continue;
    ip_mreq membership{bound.sin_addr, v4_of(interface)};
    if (::setsockopt(beacons.fd_, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) == 0) {
      beacons.interfaces_.push_back(interface);
    }
  }
  if (beacons.interfaces_.empty()) return refused("no interface joins the group");
  return beacons;
}

void BeaconSocket::send(Bytes beacon) {
  sockaddr_in group{};
  group.sin_family = AF_INET;
  group.sin_port = htons(kPort);
  ::inet_pton(AF_INET, kGroup, &group.sin_addr);
  for (const env::Endpoint& interface : interfaces_) {
    const in_addr from = v4_of(interface);
    ::setsockopt(fd_, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof from);
    (void)::sendto(fd_, beacon.data(), beacon.size(), 0, reinterpret_cast<const sockaddr*>(&group), sizeof group);
  }
}

void BeaconSocket::receive(const std::function<void(const env::Endpoint&, Bytes)>& on_beacon) {
  std::uint8_t buffer[512];
  for (int i = 0; i < 64; ++i) {  // a flood waits for its next turn
    SocketAddress from;
    from.length = sizeof from.storage;
    const ssize_t got = ::recvfrom(fd_, buffer, sizeof buffer, 0, from.get(), &from.length);
    if (got < 0) return;
    on_beacon(from_socket_address(from.get()), Bytes(buffer, static_cast<std::size_t>(got)));
  }
}

}  // namespace sedge::platform
