// Links as they are on a robot: real QUIC over simulated datagrams. The same loop as platform/runtime.cc, without a
// kernel: packets have the latency, jitter, loss and bandwidth of sim/world.h's links, wait before each way in a queue
// of 100 ms (what finds it full is lost, which is what congestion control goes by), and keep their order where the
// scenario does not say that some are late. Keys of handshakes come from the TLS library, so bytes differ from run to
// run; their numbers and times do not, and a trace repeats.
#include <algorithm>
#include <variant>

#include "base/overloaded.h"
#include "sim/world_host.h"

namespace sedge::sim {
namespace {

constexpr Duration kQueueTime = 100ms;
constexpr std::uint64_t kUdpOverhead = 28;       // of IPv4 and UDP
constexpr std::uint64_t kInterfaceBytes = 1500;  // of a radio or Ethernet: what is larger does not leave the host

}  // namespace

Status World::open_endpoint(std::size_t i, BootEpoch epoch) {
  Host& host = *hosts_[i];
  quic::Options options;
  options.key = host.key.secret.clone();
  options.chain = host.chain;
  options.boot_epoch = epoch;
  options.directory = host.directory.get();
  options.entropy = host.entropy.get();
  SEDGE_TRY(host.endpoint, quic::Endpoint::create(std::move(options)));
  return {};
}

bool World::hear(std::size_t i) {
  Host& host = *hosts_[i];
  const Instant now = local(host);
  const auto note = [&](NodeId peer, std::uint64_t what) {
    const std::size_t from = index_of(peer).value_or(hosts_.size());
    trace_.add(now_);
    trace_.add(from << 32 | i);
    trace_.add(what);
    return from < hosts_.size() ? hosts_[from]->name : peer.hex();
  };
  bool any = false;
  while (const auto event = host.endpoint->poll()) {
    any = true;
    std::visit(Overloaded{[&](const quic::LinkUp& up) {
                            const std::string peer = note(up.peer.id, 0);
                            host.found = true;
                            if (tell_) tell_(now_, host.name, fmt::format("link to {}", peer));
                            host.node->on_link_up(up.peer, now);
                          },
                          [&](const quic::LinkDown& down) {
                            const std::string peer = note(down.peer, 1 + static_cast<std::uint64_t>(down.reason));
                            const auto why = env::reason_name(down.reason);
                            if (tell_) tell_(now_, host.name, fmt::format("lost its link to {}: {}", peer, why));
                            host.node->on_link_down(down.peer, down.reason, now);
                          },
                          [&](const quic::FrameIn& in) {
                            note(in.from, in.frame.size());
                            take_frame(i, in.from, in.frame, now);
                          },
                          [&](const quic::DatagramIn& in) {
                            note(in.from, in.payload.size());
                            take_frame(i, in.from, in.payload, now);
                          },
                          [&](const quic::DialFailed& failed) { host.node->on_dial_failed(failed.failure, now); },
                          [&](const quic::Clone& clone) {
                            const std::string peer = note(clone.peer, 0);
                            if (tell_) tell_(now_, host.name, fmt::format("{} runs twice", peer));
                          },
                          [](const quic::JoinRequestIn&) {}, [](const quic::JoinGranted&) {}},
               *event);
  }
  return any;
}

void World::send_by_quic(std::size_t i, env::Send send) {
  Host& host = *hosts_[i];
  const Instant now = local(host);
  (send.datagram ? counts_.datagrams : counts_.frames) += 1;
  const NodeId to = send.to;
  const Status sent = send.datagram ? host.endpoint->send_datagram(to, std::move(send.frame), now)
                                    : host.endpoint->send(to, send.priority, std::move(send.frame), now);
  if (sent || sent.error().code != Code::kResourceExhausted) return;
  ++counts_.too_slow;
  host.endpoint->hangup(to, env::LinkDown::kTooSlow, now);
}

void World::dial_by_quic(std::size_t i, const env::Dial& dial) {
  Host& host = *hosts_[i];
  ++counts_.dials;
  const auto to = host_at(dial.address, hosts_.size());
  count_discovery(host.found && to ? *to : i, kInitialBytes);  // of the two, who is alone
  const Status dialled = host.endpoint->dial(dial, local(host));
  if (dialled || dialled.error().code == Code::kAlreadyExists) return;
  host.node->on_dial_failed({dial.address, dialled.error().message}, local(host));
}

void World::send_packets(std::size_t i) {
  Host& host = *hosts_[i];
  env::OutgoingDatagrams out;
  while (host.endpoint->next_datagrams(out, local(host))) {
    for (std::size_t at = 0; at < out.payload.size(); at += out.segment_bytes) {
      fly(i, out.remote, out.payload.subspan(at, std::min(out.segment_bytes, out.payload.size() - at)));
    }
  }
}

void World::fly(std::size_t from, const env::Endpoint& remote, Bytes packet) {
  const std::uint64_t bytes = packet.size() + kUdpOverhead;
  if (bytes > kInterfaceBytes) return;
  const LinkModel& model = options_.link;
  Host& host = *hosts_[from];
  counts_.bytes += bytes;
  host.bytes_sent += bytes;
  const auto to = host_at(remote, hosts_.size());
  if (!to || !reaches(from, *to)) return;
  Pipe& way = host.ways[*to];
  const Instant start = std::max(now_, way.free[0]);
  if (lost(way) || start - now_ > kQueueTime) return;
  way.free[0] = start + Duration(static_cast<std::int64_t>(static_cast<double>(bytes) / rate(from, *to) * 1e9));
  Instant arrival = std::max(way.free[0] + flight(from, *to), way.arrived[0]);
  if (model.reorder > 0 && prng_.chance(model.reorder)) {
    arrival += Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(model.reorder_by.count()))));
  } else {
    way.arrived[0] = arrival;
  }
  const int copies = model.duplicate > 0 && prng_.chance(model.duplicate) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    at(arrival, [this, from, to = *to, held = to_buffer(packet)] { land(from, to, held); });
  }
}

void World::land(std::size_t from, std::size_t to, Bytes packet) {
  Host& host = *hosts_[to];
  if (!host.machine) return;
  if (!host.node) {  // nobody listens, as ICMP says
    if (!reaches(to, from)) return;
    return at(now_ + flight(to, from), [this, from, to] {
      Host& sender = *hosts_[from];
      if (!sender.endpoint) return;
      sender.endpoint->on_unreachable(address_of(to), local(sender));
      pump(from);
    });
  }
  if (now_ < host.stalled_until) {
    return at(host.stalled_until, [this, from, to, held = to_buffer(packet)] { land(from, to, held); });
  }
  host.endpoint->on_datagram({address_of(to), address_of(from), packet}, local(host));
  pump(to);
}

}  // namespace sedge::sim
