#include "crdt/hlc.h"

#include <algorithm>
#include <vector>

namespace sedge::crdt {
namespace {

constexpr std::uint64_t kMsMax = (std::uint64_t{1} << 42) - 1;  // 139 years: sums of two fit into nanoseconds

// A clock that started so lately is put right at once: what it knows came late, or not at all.
constexpr Duration kYoung = 20s;
constexpr int kAgeShare = 2500;  // a reading that is older by a second must be quicker by 0.4 ms: two drift by 200 ppm

Duration since_zero(std::uint64_t ms) { return std::chrono::milliseconds(std::min(ms, kMsMax)); }
Duration us_since_zero(std::uint64_t us) { return std::chrono::microseconds(std::min(us, kMsMax * 1000)); }

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

// By the quickest answer, unless it is old: clocks drift.
Duration FleetClock::Sample::apart() const {
  if (last.empty()) return {};
  const auto doubt = [this](const Timed& one) { return one.rtt + (last.back().at - one.at) / kAgeShare; };
  return std::ranges::min_element(last, {}, doubt)->apart;
}

void FleetClock::sample(NodeId neighbour, const Exact& reading, Instant now) {
  const Duration steady = us_since_zero(reading.steady_us);
  const Duration apart = steady + reading.rtt / 2 - now.time_since_epoch();
  Sample& sample = samples_[neighbour];
  // It is another life's clock: what it showed before says nothing any more.
  if (std::chrono::abs(apart - sample.apart()) > options_.step + reading.rtt) sample.last.clear();
  sample.settled = true;
  sample.theirs = us_since_zero(reading.fleet_us) - steady;
  sample.last.push_back({apart, reading.rtt, now});
  if (sample.last.size() > options_.window) sample.last.pop_front();
  follow(now);
}

void FleetClock::hear(NodeId neighbour, std::uint64_t fleet_ms, bool settled, Instant now) {
  Sample& sample = samples_[neighbour];
  if (!sample.last.empty()) return;
  sample.settled = settled;
  sample.theirs = since_zero(fleet_ms) - now.time_since_epoch();
  follow(now);
}

// The mean without the extremes. Where two halves of a fleet disagree for more than noise, the later one is followed.
void FleetClock::follow(Instant now) {
  settled_ = settled(now);
  std::vector<Duration> votes;
  for (const auto& [neighbour, sample] : samples_) {
    if (sample.settled) votes.push_back(sample.base());
    if (!sample.settled && !settled_) base_ = std::max(base_, sample.base());
  }
  if (votes.empty()) return;
  one_word_ |= !settled_ && votes.size() == 1;
  const bool enough = votes.size() > 2;
  if (settled_ && !(one_word_ && enough)) votes.push_back(base_);
  if (enough) one_word_ = false;
  std::ranges::sort(votes);
  const Duration upper = votes[votes.size() / 2];
  if (votes.size() >= 3) votes = {votes.begin() + 1, votes.end() - 1};
  const Duration lowest = votes.front();
  Duration middle = upper;
  if (votes.back() - lowest <= options_.step) {  // noise
    Duration above{};
    for (const Duration vote : votes) above += vote - lowest;
    middle = lowest + above / static_cast<std::int64_t>(votes.size());
  }
  const Duration wrong = middle - base_;
  const bool slews = settled_ && now - started_ >= kYoung && std::chrono::abs(wrong) <= options_.step;
  base_ += slews ? wrong / options_.slew : wrong;
  settled_ = true;
}

std::uint64_t FleetClock::us(Instant now) const {
  const Duration since = now.time_since_epoch() + base_;
  return since < Duration::zero() ? 0 : static_cast<std::uint64_t>(since / 1us);
}

std::optional<Duration> FleetClock::offset(NodeId neighbour) const {
  const auto sample = samples_.find(neighbour);
  if (sample == samples_.end() || sample->second.last.empty()) return std::nullopt;
  return sample->second.base() - base_;
}

}  // namespace sedge::crdt
