// Which connection is *the* link to a node. See quic/endpoint.h for the rules; this is the one place that applies them.
#include <algorithm>

#include "quic/endpoint_core.h"

namespace sedge::quic {

namespace {

constexpr auto code(env::LinkDown reason) { return static_cast<std::uint64_t>(reason); }

}  // namespace

Endpoint::Core::Verdict Endpoint::Core::judge(const Connection& old, const Connection& c) const {
  const TlsIdentity& before = old.proof()->identity;
  const TlsIdentity& after = c.proof()->identity;
  if (after.instance != before.instance) {
    return after.boot_epoch > before.boot_epoch ? Verdict::kTakeNew : Verdict::kClone;
  }
  if (old.dialled() == c.dialled()) return c.dialled() ? Verdict::kKeepOld : Verdict::kSpare;
  const NodeId& dialler = c.dialled() ? self : c.peer();
  return dialler == std::min(self, c.peer()) ? Verdict::kTakeNew : Verdict::kKeepOld;
}

void Endpoint::Core::confirm(Connection& c, Instant now) {
  Connection* const old = link(c.peer());
  if (old == nullptr) {
    if (links_.size() < options.limits.links_max) return establish(c);
    c.blame("too many links");
    return c.close(code(env::LinkDown::kClosed), "too many links", now);
  }
  switch (judge(*old, c)) {
    case Verdict::kTakeNew:
      return take_over(c, now);
    case Verdict::kSpare:
      return hold_spare(c, now);
    case Verdict::kClone:
      emit(Clone{c.peer(), old->remote(), c.remote()});
      [[fallthrough]];
    case Verdict::kKeepOld:
      c.blame(fmt::format("linked to {} already", c.peer().short_hex()));
      c.close(code(env::LinkDown::kReplaced), "another link stays", now);
  }
}

void Endpoint::Core::establish(Connection& c) {
  links_[c.peer()] = &c;
  const TlsIdentity& identity = c.proof()->identity;
  emit(LinkUp{{c.peer(), c.remote(), c.dialled(), identity.chain}, identity.boot_epoch});
}

void Endpoint::Core::take_over(Connection& c, Instant now) {
  Connection& old = *links_.at(c.peer());
  old.close(code(env::LinkDown::kReplaced), "another link stays", now);
  if (const auto spare = spares_.find(c.peer()); spare != spares_.end() && spare->second == &c) spares_.erase(spare);
  links_.erase(c.peer());
  old.retired = true;
  emit(LinkDown{c.peer(), env::LinkDown::kReplaced});
  if (!old.close_packet().empty()) raw(old.remote(), old.local(), old.close_packet());
  reschedule(old);
  establish(c);
}

// The peer dialled us twice. It keeps its first dial and closes the other, or, if its first one failed on its side
// only, speaks on the new one: then that is the link.
void Endpoint::Core::hold_spare(Connection& c, Instant now) {
  Connection*& spare = spares_[c.peer()];
  Connection* const before = std::exchange(spare, &c);
  if (before == nullptr) return;
  before->close(code(env::LinkDown::kReplaced), "another link stays", now);
  before->retired = true;
  if (!before->close_packet().empty()) raw(before->remote(), before->local(), before->close_packet());
  reschedule(*before);
}

void Endpoint::Core::deliver(Connection& c, Instant now) {
  if (link(c.peer()) != &c) {
    std::erase_if(c.arrivals(), [](const auto& arrival) { return arrival.bytes.empty(); });  // not used by its peer yet
    if (c.arrivals().empty()) return;
    const auto spare = spares_.find(c.peer());
    if (spare == spares_.end() || spare->second != &c) return;
    take_over(c, now);
  }
  for (Connection::Arrival& arrival : c.arrivals()) {
    if (arrival.datagram) {
      emit(DatagramIn{c.peer(), std::move(arrival.bytes)});
    } else {
      events_.push_back({FrameIn{c.peer(), arrival.priority, std::move(arrival.bytes)}, c.number(), arrival.priority,
                         arrival.credit});
    }
  }
  c.arrivals().clear();
}

// Its end is told once: as LinkDown, DialFailed, or not at all.
void Endpoint::Core::retire(Connection& c, Instant now) {
  if (c.retired) return;
  c.retired = true;
  const bool was_half_open = c.half_open.has_value();
  close_half(c);
  if (!c.close_packet().empty()) raw(c.remote(), c.local(), c.close_packet());
  reschedule(c);
  const NodeId peer = c.peer();
  if (const auto spare = spares_.find(peer); spare != spares_.end() && spare->second == &c) {
    spares_.erase(spare);
    return;
  }
  if (link(peer) == &c) {
    deliver(c, now);  // what came before the end still counts
    links_.erase(peer);
    emit(LinkDown{peer, c.down_reason()});
    if (const auto spare = spares_.find(peer); spare != spares_.end()) {
      Connection& next = *spare->second;
      spares_.erase(spare);
      establish(next);
      settle(next, now);
    }
  } else if (c.dialled()) {
    if (!c.failure().empty()) emit(DialFailed{{c.dial_options().remote, c.failure()}});
  } else if (was_half_open) {
    ++counters.handshakes_refused;
  }
}

}  // namespace sedge::quic
