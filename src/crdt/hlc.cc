#include "crdt/hlc.h"

#include <algorithm>
#include <vector>

namespace sedge::crdt {
namespace {

constexpr std::uint64_t kMsMax = (std::uint64_t{1} << 43) - 1;  // 278 years, far from overflow in nanoseconds

Duration since_zero(std::uint64_t ms) { return std::chrono::milliseconds(std::min(ms, kMsMax)); }

}  // namespace

Hlc HybridClock::next(std::uint64_t fleet_ms) {
  last_ = std::max(Hlc{last_.value + 1}, Hlc::at_ms(fleet_ms));
  return last_;
}

void HybridClock::observe(Hlc seen) { last_ = std::max(last_, seen); }

void FleetClock::start(std::uint64_t known_ms, Instant now) {
  started_ = now;
  base_ = since_zero(known_ms) - now.time_since_epoch();
}

void FleetClock::sample(NodeId neighbour, Reading reading, Instant now) {
  const Sample fresh{since_zero(reading.ms) - now.time_since_epoch(), reading.settled, reading.exact};
  const auto [at, is_new] = samples_.try_emplace(neighbour, fresh);
  if (!is_new) {
    if (at->second.exact && !reading.exact && at->second.settled) return;
    at->second = fresh;
  }
  follow(now);
}

// The upper median: where two halves of a fleet disagree, the later one is followed.
void FleetClock::follow(Instant now) {
  settled_ = settled(now);
  std::vector<Duration> votes;
  for (const auto& [neighbour, sample] : samples_) {
    if (sample.settled) votes.push_back(sample.base);
    if (!sample.settled && !settled_) base_ = std::max(base_, sample.base);
  }
  if (votes.empty()) return;
  if (settled_) votes.push_back(base_);
  const auto middle = votes.begin() + static_cast<std::ptrdiff_t>(votes.size() / 2);
  std::nth_element(votes.begin(), middle, votes.end());
  if (!settled_ || std::chrono::abs(*middle - base_) > options_.dead_zone) base_ = *middle;
  settled_ = true;
}

std::uint64_t FleetClock::ms(Instant now) const {
  const Duration since = now.time_since_epoch() + base_;
  return since < Duration::zero() ? 0 : static_cast<std::uint64_t>(since / 1ms);
}

}  // namespace sedge::crdt
