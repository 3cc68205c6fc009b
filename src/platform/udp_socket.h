// One UDP socket for all links: QUIC multiplexes them. Sends runs of equal-sized packets in one system call (UDP GSO)
// and receives coalesced ones (UDP GRO), which is worth a factor of three on loopback and on a Pi's Ethernet; falls
// back to one call a packet where the kernel has neither. Destination errors (nobody listens at that port any more)
// are read from the socket's error queue, because they are the fastest sign that a process died.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "env/endpoint.h"
#include "env/network.h"

namespace sedge::platform {

class UdpSocket {
 public:
  UdpSocket() = default;
  UdpSocket(UdpSocket&& other) noexcept;
  UdpSocket& operator=(UdpSocket&& other) noexcept;
  ~UdpSocket();

  // Port 0: any. An unspecified address listens on every interface, IPv4 and IPv6.
  // Errors: Unavailable, naming the address and what holds it.
  static Result<UdpSocket> open(const env::Endpoint& listen);

  int fd() const { return fd_; }
  env::Endpoint local() const { return local_; }

  enum class Sent { kAll, kBlocked };
  // kBlocked: the kernel's buffer is full; wait until writable and send the same again.
  Sent send(const env::OutgoingDatagrams& datagrams);

  // Reads what is there, at most `batches` system calls; false: there was nothing.
  bool receive(int batches, const std::function<void(const env::IncomingDatagram&)>& on_datagram);

  // Whether the network has said so of a remote since read_errors().
  bool has_errors() const { return errors_; }
  // Remotes that the network says cannot be reached.
  void read_errors(const std::function<void(const env::Endpoint&)>& on_unreachable);

  std::uint64_t dropped() const { return dropped_; }  // packets the kernel refused for another reason than room

 private:
  int fd_ = -1;
  int family_ = 0;
  bool segmentation_ = false;
  bool errors_ = false;
  env::Endpoint local_;
  std::uint64_t dropped_ = 0;
  std::vector<std::uint8_t> buffer_;
};

// Addresses of this machine's interfaces that others may dial, with `port`: up, not loopback (unless that is all
// there is), no container bridges (docker0, br-, veth), no IPv6 temporaries without scope.
std::vector<env::Endpoint> interface_endpoints(std::uint16_t port);

// "host:port" by the system's resolver; also a plain address. Errors: Unavailable, InvalidArgument.
Result<std::vector<env::Endpoint>> resolve(std::string_view text);

}  // namespace sedge::platform
