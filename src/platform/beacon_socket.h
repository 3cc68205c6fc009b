// Multicast for beacons: one socket that hears the group on every interface the node uses and sends on each of them.
// Its own port, shared by all nodes of a machine. Loss, silence and forgery are all fine: a beacon is a hint.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "env/endpoint.h"

namespace sedge::platform {

class BeaconSocket {
 public:
  // Administratively scoped (RFC 2365), not forwarded by home routers.
  static constexpr const char* kGroup = "239.255.73.34";
  static constexpr std::uint16_t kPort = 7337;

  BeaconSocket() = default;
  BeaconSocket(BeaconSocket&& other) noexcept { *this = std::move(other); }
  BeaconSocket& operator=(BeaconSocket&& other) noexcept;
  ~BeaconSocket();

  // `interfaces`: IPv4 addresses of our own to use. Errors: Unavailable: no multicast here; seeds still work.
  static Result<BeaconSocket> open(const std::vector<env::Endpoint>& interfaces);

  int fd() const { return fd_; }
  void send(Bytes beacon);
  void receive(const std::function<void(const env::Endpoint& from, Bytes beacon)>& on_beacon);

 private:
  int fd_ = -1;
  std::vector<env::Endpoint> interfaces_;
};

}  // namespace sedge::platform
