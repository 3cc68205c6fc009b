#include "platform/udp_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <ifaddrs.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/socket_address.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace sedge::platform {
namespace {

constexpr int kSocketBufferBytes = 4 << 20;      // 20 ms at 200 MB/s; the kernel may grant less
constexpr std::size_t kReceiveBytes = 64 << 10;  // the largest coalesced read

// Control messages are read and written through memcpy: the buffer has no particular type.
struct Control {
  alignas(cmsghdr) char space[256];
};

void set_option(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

int open_socket(int family) {
  const int fd = ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
  set_option(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);
  set_option(fd, SOL_UDP, UDP_GRO, 1);
  set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
  set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  // No packet in pieces: one that is too large is lost, from which QUIC learns what the way carries (RFC 9000, 14).
  set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  if (family == AF_INET6) {
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  }
  return fd;
}

struct ReceivedControl {
  std::size_t segment_bytes = 0;
  env::Endpoint local;
};

ReceivedControl read_control(msghdr& message, const env::Endpoint& bound) {
  ReceivedControl control{0, bound};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
      int bytes = 0;
      std::memcpy(&bytes, CMSG_DATA(header), sizeof bytes);
      control.segment_bytes = static_cast<std::size_t>(std::max(bytes, 0));
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      std::memcpy(control.local.address.data(), &info.ipi6_addr, 16);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      const auto* ip = reinterpret_cast<const std::uint8_t*>(&info.ipi_addr);
      control.local = env::Endpoint::v4(ip[0], ip[1], ip[2], ip[3], bound.port);
    }
  }
  control.local.port = bound.port;
  return control;
}

bool is_bridge(std::string_view name) {
  return name.starts_with("docker") || name.starts_with("br-") || name.starts_with("veth") ||
         name.starts_with("virbr") || name.starts_with("cni") || name.starts_with("flannel");
}

}  // namespace

UdpSocket::UdpSocket(UdpSocket&& other) noexcept { *this = std::move(other); }

UdpSocket& UdpSocket::operator=(UdpSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(family_, other.family_);
  std::swap(segmentation_, other.segmentation_);
  std::swap(errors_, other.errors_);
  std::swap(local_, other.local_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

UdpSocket::~UdpSocket() {
  if (fd_ >= 0) ::close(fd_);
}

Result<UdpSocket> UdpSocket::open(const env::Endpoint& listen) {
  UdpSocket udp;
  udp.family_ = AF_INET6;
  udp.fd_ = open_socket(AF_INET6);
  if (udp.fd_ < 0) {  // a kernel without IPv6
    udp.family_ = AF_INET;
    udp.fd_ = open_socket(AF_INET);
  }
  if (udp.fd_ < 0) return fail(Code::kUnavailable, "cannot open a UDP socket: {}", std::strerror(errno));
  env::Endpoint wanted = listen;
  if (wanted.is_unspecified()) wanted.address = {};  // [::] takes IPv4 too
  SocketAddress address = to_socket_address(wanted, udp.family_);
  if (::bind(udp.fd_, address.get(), address.length) != 0) {
    return fail(Code::kUnavailable, "cannot listen on UDP {}: {}; another node may hold it: give --listen another port",
                listen.text(), std::strerror(errno));
  }
  address.length = sizeof address.storage;
  ::getsockname(udp.fd_, address.get(), &address.length);
  udp.local_ = from_socket_address(address.get());
  int probe = 0;
  socklen_t probe_length = sizeof probe;
  udp.segmentation_ = ::getsockopt(udp.fd_, SOL_UDP, UDP_SEGMENT, &probe, &probe_length) == 0;
  udp.buffer_.resize(kReceiveBytes);
  return udp;
}

UdpSocket::Sent UdpSocket::send(const env::OutgoingDatagrams& datagrams) {
  SocketAddress address = to_socket_address(datagrams.remote, family_);
  const std::size_t segment = datagrams.segment_bytes == 0 ? datagrams.payload.size() : datagrams.segment_bytes;
  bool fits = true;
  std::size_t at = 0;
  while (at < datagrams.payload.size()) {
    const bool together = segmentation_ && fits && datagrams.payload.size() - at > segment;
    const std::size_t bytes =
        together ? datagrams.payload.size() - at : std::min(segment, datagrams.payload.size() - at);
    iovec part{const_cast<std::uint8_t*>(datagrams.payload.data()) + at, bytes};
    Control control{};
    msghdr message{};
    message.msg_name = address.get();
    message.msg_namelen = address.length;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (together) {
      message.msg_control = control.space;
      message.msg_controllen = CMSG_SPACE(sizeof(std::uint16_t));
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_UDP;
      header->cmsg_type = UDP_SEGMENT;
      header->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      const auto size = static_cast<std::uint16_t>(segment);
      std::memcpy(CMSG_DATA(header), &size, sizeof size);
    }
    if (::sendmsg(fd_, &message, 0) < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Sent::kBlocked;
      if (together && errno == EIO) {
        segmentation_ = false;  // this interface cannot: packet by packet from here on
        continue;
      }
      if (together && (errno == EINVAL || errno == EMSGSIZE)) {
        fits = false;  // a way of smaller packets than these: each on its own is lost or gets through
        continue;
      }
      // A pending destination error is reported by the next send, whoever it is for; the error queue tells for whom.
      errors_ = errors_ || errno != EINTR;
      if (errno == ECONNREFUSED || errno == EINTR) continue;
      ++dropped_;  // no route, interface down: QUIC sees it as loss
    }
    at += bytes;
  }
  return Sent::kAll;
}

bool UdpSocket::receive(int batches, const std::function<void(const env::IncomingDatagram&)>& on_datagram) {
  bool any = false;
  for (int i = 0; i < batches; ++i) {
    SocketAddress from;
    iovec part{buffer_.data(), buffer_.size()};
    Control control{};
    msghdr message{};
    message.msg_name = from.get();
    message.msg_namelen = sizeof from.storage;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    const ssize_t got = ::recvmsg(fd_, &message, 0);
    if (got < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      errors_ = errors_ || errno != EINTR;
      continue;
    }
    any = true;
    if ((message.msg_flags & MSG_TRUNC) != 0) continue;
    const ReceivedControl info = read_control(message, local_);
    const auto total = static_cast<std::size_t>(got);
    const std::size_t segment = info.segment_bytes == 0 ? std::max<std::size_t>(total, 1) : info.segment_bytes;
    const env::Endpoint remote = from_socket_address(from.get());
    for (std::size_t at = 0; at < total; at += segment) {
      on_datagram({.local = info.local,
                   .remote = remote,
                   .payload = Bytes(buffer_.data() + at, std::min(segment, total - at))});
    }
  }
  return any;
}

void UdpSocket::read_errors(const std::function<void(const env::Endpoint&)>& on_unreachable) {
  errors_ = false;
  for (int i = 0; i < 64; ++i) {
    SocketAddress about;
    char byte = 0;
    iovec part{&byte, 1};
    Control control{};
    msghdr message{};
    message.msg_name = about.get();
    message.msg_namelen = sizeof about.storage;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    if (::recvmsg(fd_, &message, MSG_ERRQUEUE) < 0) return;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      const bool is_error = (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR) ||
                            (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR);
      if (!is_error) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(header), sizeof error);
      if (error.ee_errno == ECONNREFUSED) on_unreachable(from_socket_address(about.get()));
    }
  }
}

std::vector<env::Endpoint> interface_endpoints(std::uint16_t port) {
  std::vector<env::Endpoint> found;
  std::vector<env::Endpoint> loopback;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    constexpr unsigned kAlive = IFF_UP | IFF_RUNNING;  // up, and something at the other end of the wire
    if (each->ifa_addr == nullptr || (each->ifa_flags & kAlive) != kAlive || is_bridge(each->ifa_name)) continue;
    if (each->ifa_addr->sa_family != AF_INET && each->ifa_addr->sa_family != AF_INET6) continue;
    env::Endpoint endpoint = from_socket_address(each->ifa_addr);
    endpoint.port = port;
    if (endpoint.scope != 0) continue;  // link-local: only the multicast beacon can name its scope
    (endpoint.is_loopback() ? loopback : found).push_back(endpoint);
  }
  ::freeifaddrs(list);
  return found.empty() ? loopback : found;
}

Result<std::vector<env::Endpoint>> resolve(std::string_view text) {
  if (const auto plain = env::Endpoint::parse(text)) return std::vector{*plain};
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) {
    return fail(Code::kInvalidArgument, "'{}' is not an address: write HOST:PORT, such as gateway.local:7334", text);
  }
  const std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list); error != 0) {
    return fail(Code::kUnavailable, "cannot resolve '{}': {}", text, ::gai_strerror(error));
  }
  std::vector<env::Endpoint> endpoints;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    endpoints.push_back(from_socket_address(each->ai_addr));
  }
  ::freeaddrinfo(list);
  return endpoints;
}

}  // namespace sedge::platform
