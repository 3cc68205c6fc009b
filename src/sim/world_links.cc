// Links as a table of latencies and losses: see sim/world.h.
#include <algorithm>
#include <tuple>

#include "sim/world_host.h"

namespace sedge::sim {
namespace {

constexpr Duration kIdleTimeout = 3s;  // as quic/ has it
constexpr Duration kDialTimeout = 5s;
constexpr Duration kRetransmit = 30ms;  // on top of a round trip: a lost packet is noticed

}  // namespace

void World::transmit(std::size_t from, env::Send send) {
  const auto to = index_of(send.to);
  const auto found = to ? hosts_[from]->links.find(*to) : hosts_[from]->links.end();
  if (found == hosts_[from]->links.end()) return;
  const std::uint64_t link = found->second;
  (send.datagram ? counts_.datagrams : counts_.frames) += 1;
  counts_.bytes += send.frame.size() + kPacketOverhead;
  hosts_[from]->bytes_sent += send.frame.size() + kPacketOverhead;
  Pipe& pipe = links_[link].from(from);
  if (send.datagram) {
    if (!reaches(from, *to) || lost(pipe)) return;
    const LinkModel& model = options_.link;
    Duration late{};
    if (model.reorder > 0 && prng_.chance(model.reorder)) {
      late = Duration(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(model.reorder_by.count()) + 1)));
    }
    if (model.duplicate > 0 && prng_.chance(model.duplicate)) carry(link, from, *to, send, {});
    carry(link, from, *to, std::move(send), late);
    return;
  }
  if (!reaches(from, *to) || !pipe.blocked.empty()) {
    pipe.blocked.push_back(std::move(send));
    return;
  }
  Duration again{};
  while (again < kIdleTimeout && lost(pipe, again)) again += 2 * way(from, *to) + kRetransmit;
  carry(link, from, *to, std::move(send), again);
}

// Puts bytes on the wire. More urgent frames go before less urgent ones that wait; what is on the wire already is
// not called back, so that the model lets a little more through than a real link at the moment of overtaking.
void World::carry(std::uint64_t link, std::size_t from, std::size_t to, env::Send send, Duration extra) {
  Pipe& pipe = links_[link].from(from);
  const auto priority = static_cast<std::size_t>(send.priority);
  Instant start = now_;
  for (std::size_t p = 0; p <= priority; ++p) start = std::max(start, pipe.free[p]);
  const double speed = rate(from, to);
  const double seconds = static_cast<double>(send.frame.size() + kPacketOverhead) / speed;
  const Duration time(static_cast<std::int64_t>(seconds * 1e9));
  if (to_seconds(start - now_) * speed > static_cast<double>(env::kLinkQueueBytesMax)) {
    ++counts_.too_slow;
    at(now_ + flight(from, to), [this, link, to] { link_down(link, to, env::LinkDown::kClosed); });
    at(now_, [this, link, from] { link_down(link, from, env::LinkDown::kTooSlow); });
    return;
  }
  pipe.free[priority] = start + time;
  for (std::size_t p = priority + 1; p < env::kPriorities; ++p) {
    if (pipe.free[p] > start) pipe.free[p] += time;  // what is sent after this waits for what has overtaken it
  }
  hosts_[from]->busy_until = std::max(hosts_[from]->busy_until, start + time);
  Instant arrival = start + time + flight(from, to) + extra;
  if (!send.datagram) {
    arrival = std::max(arrival, pipe.arrived[priority]);
    pipe.arrived[priority] = arrival;
  }
  at(arrival, [this, link, from, to, frame = std::move(send.frame)] { arrive(link, from, to, frame); });
}

void World::arrive(std::uint64_t link, std::size_t from, std::size_t to, const Buffer& frame) {
  Host& host = *hosts_[to];
  const auto mine = host.links.find(from);
  if (mine == host.links.end() || mine->second != link) {
    // Nobody is there for it, and the sender's end of the link falls: a process that runs says that the link is closed,
    // a machine without one that nobody listens.
    if (host.machine && reaches(to, from)) {
      const env::LinkDown reason = host.node ? links_[link].from(to).told : env::LinkDown::kRefused;
      at(now_ + flight(to, from), [this, link, from, reason] { link_down(link, from, reason); });
    }
    return;
  }
  if (now_ < host.stalled_until) {
    return at(host.stalled_until, [this, link, from, to, frame] { arrive(link, from, to, frame); });
  }
  Pipe& pipe = links_[link].from(from);
  pipe.carried += frame.size() + kPacketOverhead;
  pipe.carried_at = now_;
  trace_.add(now_);
  trace_.add(from << 32 | to);
  trace_.add(Bytes(frame));
  if (frame.empty()) acknowledge(link, from, to);
  take_frame(to, hosts_[from]->id, frame, local(host));
  pump(to);
}

// As QUIC does without asking anybody: whoever asked for a sign of life sees that it came.
void World::acknowledge(std::uint64_t link, std::size_t from, std::size_t to) {
  counts_.bytes += kPacketOverhead;
  hosts_[to]->bytes_sent += kPacketOverhead;
  if (!reaches(to, from) || lost(links_[link].from(to))) return;
  at(now_ + flight(to, from), [this, link, from, to] { see_life(link, from, to); });
}

void World::see_life(std::uint64_t link, std::size_t from, std::size_t to) {
  Host& host = *hosts_[from];
  const auto mine = host.links.find(to);
  if (mine == host.links.end() || mine->second != link) return;
  if (now_ < host.stalled_until) return at(host.stalled_until, [=, this] { see_life(link, from, to); });
  take_frame(from, hosts_[to]->id, {}, local(host));
  pump(from);
}

void World::connect(std::size_t from, const env::Dial& dial) {
  ++counts_.dials;
  const std::optional<std::size_t> to = host_at(dial.address, hosts_.size());
  if (to == from) return fail_dial(from, dial.address, 1ms, "that is ourselves");
  count_discovery(hosts_[from]->found && to ? *to : from, kInitialBytes);  // of the two, who is alone
  if (!to || !reaches(from, *to) || !reaches(*to, from) || !hosts_[*to]->machine) {
    return fail_dial(from, dial.address, kDialTimeout, "no answer");
  }
  if (!hosts_[*to]->node) return fail_dial(from, dial.address, 2 * flight(from, *to), "nobody listens there");
  Duration handshake = 4 * flight(from, *to);  // two round trips until both have confirmed
  while (prng_.chance(options_.link.loss)) handshake += 2 * way(from, *to) + kRetransmit;
  at(now_ + handshake,
     [this, from, life = hosts_[from]->life, to = *to, address = dial.address] { meet(from, life, to, address); });
}

void World::fail_dial(std::size_t from, const env::Endpoint& address, Duration after, const std::string& reason) {
  at(now_ + after, [this, from, life = hosts_[from]->life, address, reason] {
    Host& host = *hosts_[from];
    if (host.life != life || !host.node) return;
    host.node->on_dial_failed({address, reason}, local(host));
    pump(from);
  });
}

void World::meet(std::size_t from, std::uint64_t life, std::size_t to, const env::Endpoint& address) {
  Host& dialler = *hosts_[from];
  Host& other = *hosts_[to];
  if (dialler.life != life || !dialler.node) return;
  const Instant awake = std::max(dialler.stalled_until, other.stalled_until);
  if (now_ < awake) return at(awake, [=, this] { meet(from, life, to, address); });
  if (!other.node || !reaches(from, to) || !reaches(to, from)) {
    return fail_dial(from, address, kDialTimeout, "no answer");
  }
  // As the handshake would say (quic/): here every certificate is good, and some were withdrawn.
  if (dialler.directory->revoked(other.id) || other.directory->revoked(dialler.id)) {
    return fail_dial(from, address, {}, "its certificate was revoked");
  }
  const auto known = dialler.links.find(to);
  const auto back = other.links.find(from);
  const bool both = known != dialler.links.end() && back != other.links.end() && known->second == back->second;
  if (both) return fail_dial(from, address, {}, "linked already");
  // An end that still held on to an older link (its peer has restarted) gives it up for this one.
  if (known != dialler.links.end()) link_down(known->second, from, env::LinkDown::kReplaced);
  if (back != other.links.end()) link_down(back->second, to, env::LinkDown::kReplaced);
  const std::uint64_t number = links_.size();
  Link& link = links_.emplace_back();
  in_use_.push_back(number);
  link.ends = {from, to};
  for (Pipe& pipe : link.pipes) pipe.heard = now_;
  dialler.links[to] = other.links[from] = number;
  dialler.found = other.found = true;
  for (const auto& [one, peer] : {std::pair(from, to), std::pair(to, from)}) {
    trace_.add(now_);
    trace_.add(one << 32 | peer);
    Host& host = *hosts_[one];
    if (tell_) tell_(now_, host.name, fmt::format("link to {}", hosts_[peer]->name));
    host.node->on_link_up({hosts_[peer]->id, address_of(peer), one == from, hosts_[peer]->chain}, local(host));
  }
  pump(from);
  pump(to);
}

void World::break_link(std::size_t i, std::size_t j) {
  const auto link = hosts_[i]->links.find(j);
  if (link == hosts_[i]->links.end()) return;
  const std::uint64_t number = link->second;
  for (const std::size_t end : {i, j}) link_down(number, end, env::LinkDown::kTimeout);
}

void World::link_down(std::uint64_t number, std::size_t end, env::LinkDown reason) {
  Link& link = links_[number];
  if (!link.from(end).up) return;
  if (const Instant awake = hosts_[end]->stalled_until; now_ < awake) {
    return at(awake, [=, this] { link_down(number, end, reason); });
  }
  const std::size_t peer = link.other(end);
  link.from(end).up = false;
  link.from(end).blocked.clear();
  Host& host = *hosts_[end];
  if (const auto mine = host.links.find(peer); mine != host.links.end() && mine->second == number)
    host.links.erase(mine);
  if (!host.node) return;
  trace_.add(now_);
  trace_.add(static_cast<std::uint64_t>(reason));
  if (tell_) {
    tell_(now_, host.name, fmt::format("lost its link to {}: {}", hosts_[peer]->name, env::reason_name(reason)));
  }
  host.node->on_link_down(hosts_[peer]->id, reason, local(host));
  pump(end);
}

// Keep-alives and idle timeouts, for all links at once: a packet a second on each would only fill the queue.
void World::sweep() {
  std::vector<std::tuple<std::uint64_t, std::size_t>> silent;
  for (const std::uint64_t number : in_use_) {
    Link& link = links_[number];
    for (const std::size_t end : link.ends) {
      const std::size_t peer = link.other(end);
      Pipe& pipe = link.from(end);
      const bool speaks = link.from(peer).up && now_ >= hosts_[peer]->stalled_until && reaches(peer, end);
      if (!pipe.up) continue;
      if (speaks || now_ < hosts_[end]->stalled_until) pipe.heard = now_;
      if (now_ - pipe.heard >= kIdleTimeout) silent.emplace_back(number, end);
    }
  }
  for (const auto& [number, end] : silent) link_down(number, end, env::LinkDown::kTimeout);
  std::erase_if(in_use_, [this](std::uint64_t number) {
    const Link& link = links_[number];
    return !link.pipes[0].up && !link.pipes[1].up;
  });
  at(now_ + kSweepInterval, [this] { sweep(); });
}

void World::beacon(std::size_t from, const Buffer& bytes) {
  count_discovery(from, bytes.size() + kPacketOverhead);
  for (std::size_t to = 0; to < hosts_.size(); ++to) {
    if (to == from || !reaches(from, to) || prng_.chance(options_.link.loss)) continue;
    at(now_ + flight(from, to), [this, from, to, bytes] {
      Host& host = *hosts_[to];
      if (!host.node || now_ < host.stalled_until) return;
      host.node->on_beacon(address_of(from), bytes, local(host));
      pump(to);
    });
  }
}

// Frames that wait for whoever can be reached again.
void World::release() {
  for (const std::uint64_t number : in_use_) {
    Link& link = links_[number];
    for (const std::size_t end : link.ends) {
      if (!link.from(end).up || !reaches(end, link.other(end))) continue;
      for (env::Send& send : std::exchange(link.from(end).blocked, {})) {
        carry(number, end, link.other(end), std::move(send), 2 * way(end, link.other(end)) + kRetransmit);
      }
    }
  }
}

}  // namespace sedge::sim
