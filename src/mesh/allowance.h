// How fast a node publishes while others on the way of its messages have no room for more.
//
// Problem: to stop when asked to, and go on as before when nobody asks any more, keeps a fleet of publishers at what
// their own links take: each fills its queue again within a turn, and the next on the way has a dozen of them to empty.
// In a fleet of 20 on links of 1 MB/s a dozen publishers of 3 MB each lost a third of their messages so: relays had
// more on the way to them than they keep for repairs. Idea: who is asked to wait waits, and goes on at half the pace
// that it had; while nobody asks, the pace rises again, by a fifth a second and 20 KB/s. As many publishers share what
// there is in equal parts as they all do so (Chiu and Jain 1989: additive increase, multiplicative decrease). Urgent
// messages and who sends little are not counted here. Rejected: credit handed out by each relay for each publisher (a
// table of the fleet's size on every link).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/time.h"

namespace sedge::mesh {

class Allowance {
 public:
  static constexpr double kLeast = 10e3;  // bytes a second

  // Asked to wait until then.
  void on_slowdown(Instant until, Instant now) {
    if (spent_ && now >= until_) {
      rate_ = std::max(kLeast, std::min(rate_, recent(now)) / 2);
      spent_ = false;
      grown_ = now;
      tokens_ = std::min(tokens_, 0.0);
    }
    until_ = std::max(until_, until);
  }

  // How long until more may be published; zero: now.
  Duration wait(Instant now) {
    if (until_ > now) return until_ - now;
    grow(now);
    if (tokens_ > 0) return Duration::zero();
    return std::max<Duration>(1ms, Duration(static_cast<std::int64_t>(-tokens_ / rate_ * 1e9)));
  }

  void spend(std::size_t bytes, Instant now) {
    grow(now);
    tokens_ -= static_cast<double>(bytes);
    if (now - second_ > 1s) {
      before_ = now - second_ > 2s ? 0 : last_;
      last_ = 0;
      second_ = now;
    }
    last_ += static_cast<double>(bytes);
    spent_ = true;
  }

  Instant until() const { return until_; }  // it was asked to wait
  double rate() const { return rate_; }

 private:
  static constexpr double kUnlimited = std::numeric_limits<double>::infinity();
  static constexpr Duration kForgotten = 10s;  // nobody has asked for so long: there is room

  // Bytes in the last one to two seconds; those before count as one.
  double recent(Instant now) const { return std::max(1.0, now - second_ > 2s ? 0.0 : std::max(last_, before_)); }

  void grow(Instant now) {
    const double seconds = to_seconds(std::max(now - std::max(grown_, until_), Duration::zero()));
    grown_ = now;
    if (now - until_ > kForgotten) rate_ = kUnlimited;
    if (rate_ == kUnlimited) {
      tokens_ = kUnlimited;
      return;
    }
    rate_ += (0.2 * rate_ + 20e3) * seconds;
    tokens_ = std::min(tokens_ + rate_ * seconds, rate_ / 10);
  }

  double rate_ = kUnlimited;
  double tokens_ = kUnlimited;
  Instant until_{};
  Instant grown_{};
  Instant second_{};              // when the running one began
  double last_ = 0, before_ = 0;  // bytes in it, and in the one before
  bool spent_ = false;            // since we were last asked to wait
};

}  // namespace sedge::mesh
