#include "crdt/hlc.h"

#include <algorithm>
#include <vector>

namespace sedge::crdt {
namespace {

constexpr std::uint64_t kMsMax = (std::uint64_t{1} << 43) - 1;  // 278 years, far from overflow in nanoseconds

constexpr Duration kYoung =
    20s;  // a clock that started so lately is put right quickly: what it knows came late, or not at all
constexpr int kYoungSlew = 2;
constexpr int kAgeShare = 1000;  // a reading that is older by a second must be quicker by a millisecond

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

// The quickest answer's, unless it is old: clocks drift, and are slewed.
Duration FleetClock::Sample::base() const {
  const auto doubt = [this](const Timed& one) { return one.rtt + (last.back().at - one.at) / kAgeShare; };
  return std::ranges::min_element(last, {}, doubt)->base;
}

void FleetClock::sample(NodeId neighbour, Reading reading, Instant now) {
  const Duration base = since_zero(reading.ms) + std::chrono::microseconds(reading.us) - now.time_since_epoch();
  Sample& sample = samples_[neighbour];
  if (sample.exact && !reading.exact && sample.settled) return;
  // Its clock was set, or it was not exact: what it said before says nothing any more.
  const bool jumped = !sample.last.empty() && std::chrono::abs(base - sample.base()) > options_.step + reading.rtt;
  if (jumped || !sample.exact || !reading.exact || sample.settled != reading.settled) sample.last.clear();
  sample.settled = reading.settled;
  sample.exact = reading.exact;
  sample.last.push_back({base, reading.rtt, now});
  if (sample.last.size() > options_.window) sample.last.pop_front();
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
  Duration above{};
  for (const Duration vote : votes) above += vote - lowest;
  const bool noise = votes.back() - lowest <= options_.step;
  const Duration middle = noise ? lowest + above / static_cast<std::int64_t>(votes.size()) : upper;
  const Duration wrong = middle - base_;
  const int slew = now - started_ < kYoung ? kYoungSlew : options_.slew;
  base_ += settled_ && std::chrono::abs(wrong) <= options_.step ? wrong / slew : wrong;
  settled_ = true;
}

std::uint64_t FleetClock::us(Instant now) const {
  const Duration since = now.time_since_epoch() + base_;
  return since < Duration::zero() ? 0 : static_cast<std::uint64_t>(since / 1us);
}

std::optional<Duration> FleetClock::offset(NodeId neighbour) const {
  const auto sample = samples_.find(neighbour);
  if (sample == samples_.end() || !sample->second.exact) return std::nullopt;
  return sample->second.base() - base_;
}

}  // namespace sedge::crdt
