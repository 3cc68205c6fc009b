#include "mesh/pace.h"

#include <algorithm>
#include <cmath>

namespace sedge::mesh {

namespace {

constexpr std::size_t kAheadBytes = 128u << 10;  // that wait on a link that is left behind; the rest is noted
constexpr std::size_t kBusyBytes = 64u << 10;    // a link on which so much waits carries what it can
constexpr double kSmooth = 4;                    // measurements, about, whose mean is looked at
constexpr double kSlower = 4;                    // times
constexpr double kFades = 10;                    // seconds, by half
constexpr int kSlowFor = 2;                      // measurements, before a link counts as slow
constexpr Duration kMeasureMin = 50ms;
constexpr std::size_t kNotedMax = 8192;  // batches for one neighbour
constexpr Duration kLook = 20ms;         // whether a link has room again

double per_second(std::uint64_t bytes, Duration time) { return static_cast<double>(bytes) / to_seconds(time); }

}  // namespace

void Pace::on_link_up(NodeId peer, Instant now) {
  on_link_down(peer);
  links_[peer].measured = now;
}

void Pace::on_link_down(NodeId peer) {
  const auto link = links_.find(peer);
  if (link == links_.end()) return;
  noted_ -= link->second.noted.size();  // it hears what is kept when it is back
  links_.erase(link);
}

void Pace::on_backlog(std::span<const env::LinkBacklog> waiting) {
  if (waiting.empty() && quiet_) return;
  for (auto& [peer, link] : links_) link.queued = link.unsent = 0;
  for (const env::LinkBacklog& each : waiting) {
    const auto link = links_.find(each.peer);
    if (link == links_.end()) continue;
    link->second.queued = each.queued;
    link->second.unsent = each.unsent;
  }
  quiet_ = waiting.empty();
}

void Pace::on_link_bytes(std::span<const env::LinkBytes> bytes, Instant now) {
  std::vector<std::pair<Link*, double>> busy;
  for (const env::LinkBytes& each : bytes) {
    const auto found = links_.find(each.peer);
    if (found == links_.end()) continue;
    Link& link = found->second;
    if (const auto carried = measure(link, each, now)) {
      busy.emplace_back(&link, *carried);
    } else if (link.noted.empty()) {
      link.slow_for = 0;
      link.slow = false;
    }
  }
  for (const auto& [link, carried] : busy) {
    link->slow_for = keeps_up(carried) ? 0 : link->slow_for + 1;
    link->slow = link->slow_for >= kSlowFor;
  }
}

// Bytes a second that it has carried there, if that was all it could.
std::optional<double> Pace::measure(Link& link, const env::LinkBytes& bytes, Instant now) {
  const Duration time = now - link.measured;
  if (time < kMeasureMin) return std::nullopt;
  const double arrived = per_second(bytes.arrived - std::min(bytes.arrived, link.bytes.arrived), time);
  const double received = per_second(bytes.received - std::min(bytes.received, link.bytes.received), time);
  link.bytes = bytes;
  link.measured = now;
  const double fade = std::exp2(-to_seconds(time) / kFades);
  link.sends = std::max(arrived, link.sends * fade);
  link.receives = std::max(received, link.receives * fade);
  const bool was_busy = std::exchange(link.busy, link.unsent > kBusyBytes);
  if (!link.busy) return std::nullopt;
  link.carries = was_busy ? link.carries + (arrived - link.carries) / kSmooth : arrived;
  if (!was_busy) return std::nullopt;
  return link.carries;
}

// A link on which little waits and that has carried little has shown nothing.
bool Pace::keeps_up(double carried) const {
  std::size_t as_slow = 0, faster = 0;
  bool hears_faster = false;
  for (const auto& [peer, link] : links_) {
    const bool hears = link.receives > kSlower * carried;
    const bool is_faster = hears || link.sends > kSlower * carried;
    hears_faster |= hears;
    faster += is_faster ? 1 : 0;
    as_slow += link.busy && !is_faster ? 1 : 0;
  }
  return faster + (hears_faster ? 1 : 0) < as_slow;
}

void Pace::on_sent(NodeId peer, std::size_t bytes) {
  const auto link = links_.find(peer);
  if (link == links_.end()) return;
  link->second.queued += bytes;
  link->second.unsent += bytes;
  quiet_ = false;
}

bool Pace::slow(NodeId peer) const {
  const auto link = links_.find(peer);
  return link != links_.end() && link->second.slow;
}

std::size_t Pace::waiting(bool for_all, NodeId except) const {
  if (quiet_ && noted_ == 0) return 0;
  std::size_t most = 0;
  for (const auto& [peer, link] : links_) {
    if (peer != except && (for_all || !link.slow)) most = std::max(most, link.queued + link.noted_bytes);
  }
  return most;
}

std::size_t Pace::waiting_on(NodeId peer) const {
  const auto link = links_.find(peer);
  return link == links_.end() ? 0 : link->second.queued + link->second.noted_bytes;
}

bool Pace::behind(NodeId peer) const {
  const auto link = links_.find(peer);
  if (link == links_.end()) return false;
  return !link->second.noted.empty() || (link->second.slow && link->second.unsent > kAheadBytes);
}

void Pace::note(NodeId peer, env::Priority priority, const wire::BatchId& id, std::size_t bytes, Instant now) {
  const auto found = links_.find(peer);
  if (found == links_.end() || found->second.places.contains(id)) return;
  Link& link = found->second;
  if (link.noted.size() == kNotedMax) {
    ++lost_;
    strike(link, link.noted.lower_bound({link.noted.rbegin()->first.first, 0}));  // the oldest of the least urgent
  }
  const Place place{priority, ++count_};
  link.noted.emplace(place, Noted{id, bytes});
  link.noted_bytes += bytes;
  link.places.emplace(id, place);
  ++noted_;
  next_ = std::min(next_, now + kLook);
}

void Pace::strike(Link& link, std::map<Place, Noted>::iterator noted) {
  link.places.erase(noted->second.id);
  link.noted_bytes -= noted->second.bytes;
  link.noted.erase(noted);
  --noted_;
}

void Pace::on_has(NodeId peer, const wire::BatchId& id) {
  if (noted_ == 0) return;
  const auto found = links_.find(peer);
  if (found == links_.end()) return;
  Link& link = found->second;
  if (const auto place = link.places.find(id); place != link.places.end()) strike(link, link.noted.find(place->second));
}

std::vector<std::pair<NodeId, wire::BatchId>> Pace::take(Instant now, const Kept& kept) {
  std::vector<std::pair<NodeId, wire::BatchId>> taken;
  if (now < next_) return taken;
  next_ = kNever;
  quiet_ = false;
  for (auto& [peer, link] : links_) {
    while (!link.noted.empty() && link.unsent <= kAheadBytes) {
      const auto first = link.noted.begin();
      const Noted next = first->second;
      if (kept(next.id)) {
        taken.emplace_back(peer, next.id);
        link.queued += next.bytes;
        link.unsent += next.bytes;
      } else {
        ++lost_;
      }
      strike(link, first);
    }
    if (!link.noted.empty()) next_ = now + kLook;
  }
  return taken;
}

}  // namespace sedge::mesh
