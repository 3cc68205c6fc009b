#include "platform/join_client.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include <poll.h>

#include "platform/home.h"
#include "platform/system.h"
#include "platform/udp_socket.h"
#include "quic/endpoint.h"

namespace sedge::platform {
namespace {

// Moves datagrams between the socket and the endpoint until it says how the exchange ended.
Result<trust::JoinGrant> exchange(quic::Endpoint& endpoint, UdpSocket& udp, Instant until) {
  for (;;) {
    const Instant at = now();
    if (endpoint.next_deadline() <= at) endpoint.on_timer(at);
    while (auto event = endpoint.poll()) {
      if (auto* granted = std::get_if<quic::JoinGranted>(&*event)) return std::move(granted->grant);
      if (const auto* failed = std::get_if<quic::DialFailed>(&*event)) {
        return fail(Code::kUnavailable, "{}: {}", failed->failure.address.text(), failed->failure.reason);
      }
    }
    env::OutgoingDatagrams out;
    while (endpoint.next_datagrams(out, at)) (void)udp.send(out);  // what the kernel refuses, QUIC sends again
    if (at >= until) return fail(Code::kDeadlineExceeded, "no answer");
    const Instant next = std::min(until, endpoint.next_deadline());
    pollfd wait{udp.fd(), POLLIN, 0};
    const auto wait_ms = std::clamp<std::int64_t>((next - at) / 1ms + 1, 0, 1000);
    (void)::poll(&wait, 1, static_cast<int>(wait_ms));
    udp.read_errors([&](const env::Endpoint& remote) { endpoint.on_unreachable(remote, now()); });
    udp.receive(16, [&](const env::IncomingDatagram& datagram) { endpoint.on_datagram(datagram, now()); });
  }
}

// The key is made, and kept, before anything is asked: a join that broke off goes on with the same key.
Result<trust::SecretKey> own_key(const std::filesystem::path& home) {
  using trust::HomeFile;
  if (has_home_file(home, HomeFile::kNodeKey)) {
    SEDGE_TRY(const std::string text, read_home_file(home, HomeFile::kNodeKey));
    return trust::decode_key(HomeFile::kNodeKey, text);
  }
  SystemEntropy entropy;
  auto pair = trust::KeyPair::generate(entropy);
  SEDGE_CHECK(write_home_file(home, HomeFile::kNodeKey, trust::encode_key(HomeFile::kNodeKey, pair.secret)));
  return std::move(pair.secret);
}

}  // namespace

Result<trust::JoinGrant> join(const trust::Invitation& invitation, const trust::SecretKey& key, const std::string& name,
                              const std::vector<std::string>& seeds, Duration patience,
                              const std::optional<trust::Rotation>& rotation) {
  const Instant until = now() + patience;
  std::string tried;
  for (const std::string& seed : seeds.empty() ? invitation.seeds : seeds) {
    const auto addresses = resolve(seed);
    if (!addresses) {
      tried += "\n  " + addresses.error().message;
      continue;
    }
    for (const env::Endpoint& address : *addresses) {
      SystemEntropy entropy;
      SEDGE_TRY(UdpSocket udp, UdpSocket::open(env::Endpoint{}));
      quic::Options options;
      options.key = key.clone();
      options.entropy = &entropy;
      SEDGE_TRY(auto endpoint, quic::Endpoint::create(std::move(options)));
      SEDGE_CHECK(endpoint->dial_join(address, invitation, name, now(), rotation));
      auto grant = exchange(*endpoint, udp, std::min(until, now() + 5s));
      if (grant) return grant;
      tried += "\n  " + grant.error().message;
    }
  }
  if (tried.empty()) tried = " the invitation names no address: give --seed HOST:PORT of the issuer";
  return fail(Code::kUnavailable, "could not join; is the issuer's `sedge up` running and reachable?{}", tried);
}

Result<Enrolment> enrol(const std::filesystem::path& home, const trust::Invitation& invitation, const std::string& name,
                        const std::vector<std::string>& seeds, Duration patience) {
  SEDGE_CHECK(make_home(home));
  SEDGE_TRY(const trust::SecretKey key, own_key(home));
  const std::string wanted = name.empty() ? invitation.name.value_or(host_name()) : name;
  SEDGE_TRY(const trust::JoinGrant grant, join(invitation, key, wanted, seeds, patience));
  SEDGE_TRY(trust::CertificateChain chain, trust::decode_chain(grant.chain));
  using trust::HomeFile;
  SEDGE_CHECK(write_home_file(home, HomeFile::kFleetRoot, trust::encode_root(grant.root)));
  SEDGE_CHECK(write_home_file(home, HomeFile::kFleetSecret, trust::encode_fleet_secret(grant.fleet_secret)));
  // The certificate comes last: a home without one belongs to no fleet, so a crash on the way leaves nothing half made.
  SEDGE_CHECK(write_home_file(home, HomeFile::kNodeCertificate, trust::encode_node_certificate(chain)));
  return Enrolment{std::move(chain), grant.seeds};
}

}  // namespace sedge::platform
