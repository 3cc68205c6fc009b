// When a write of ours was truly made.
//
// A node that starts has no clock: it stamps on from the newest write on its disk, a newcomer from zero, until it hears
// a settled neighbour, and then its clock leaps. What it wrote before has a stamp of yesterday or of the first day, and
// loses to whatever anybody wrote long before it. The leaps tell how much is missing: a stamp from before a leap is
// that much younger. Stamping such writes late was rejected: they would wait until somebody is heard, and who is alone
// must work. Sending the leap along was rejected: others would have to believe it.
// Of this life only, and bounded: of more leaps than kLeapsMax the oldest are forgotten. Threads: none.
#pragma once

#include <cstdint>
#include <deque>

namespace sedge::mesh {

class ClockLeaps {
 public:
  static constexpr std::uint64_t kLeastMs = 1000;  // less is noise
  static constexpr std::size_t kLeapsMax = 16;

  // The fleet clock, before and after a correction.
  void note(std::uint64_t before_ms, std::uint64_t after_ms) {
    if (after_ms < before_ms + kLeastMs) return;
    leaps_.push_back({before_ms, after_ms - before_ms});
    if (leaps_.size() > kLeapsMax) leaps_.pop_front();
  }

  // What a stamp of this life would be by the clock of now.
  std::uint64_t truly_ms(std::uint64_t stamp_ms) const {
    for (const Leap& leap : leaps_) {
      if (stamp_ms <= leap.before_ms) stamp_ms += leap.by_ms;
    }
    return stamp_ms;
  }

 private:
  struct Leap {
    std::uint64_t before_ms;
    std::uint64_t by_ms;
  };
  std::deque<Leap> leaps_;
};

}  // namespace sedge::mesh
