// Who has sent how much of what goes through here, lately: so that only those are told to wait whose sending makes it
// too much, and those who send little wait for nobody who sends much.
//
// The problem: a link that is full says so to everybody behind it, and one member that floods would silence all others;
// and before it is full, each message stands in its queue behind the flood. The idea: bytes are counted by origin, over
// one to two seconds; who has sent less than half of an equal part of them all is not what fills the link, and who has
// sent more than twice as much as the others on average goes behind them. Rejected: a queue an origin and link, served
// in turn (a fleet's worth of queues on each of six links, for what is rarely full). Source: the new and old flows of
// Hoeiland-Joergensen et al. 2018 (RFC 8290, FQ-CoDel).
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/id.h"
#include "base/time.h"

namespace sedge::mesh {

class Shares {
 public:
  // Origins are members, so that there are no more of them than the fleet has.
  void add(NodeId origin, std::size_t bytes, Instant now) {
    turn(now);
    counts_[origin].last += bytes;
    all_ += bytes;
  }

  // Whether it has sent half of an equal part, or more.
  bool above(NodeId origin, Instant now) {
    const std::uint64_t own = sent(origin, now);
    return own > 0 && 2 * own * counts_.size() >= all_;
  }

  // Whether it has sent more than twice as much as the others on average: never who is alone.
  bool heavy(NodeId origin, Instant now) {
    const std::uint64_t own = sent(origin, now);
    return own > 0 && own * (counts_.size() - 1) > 2 * (all_ - own);
  }

 private:
  struct Count {
    std::uint64_t last = 0, before = 0;  // in the running second, and in the one before it
  };

  std::uint64_t sent(NodeId origin, Instant now) {
    turn(now);
    const auto count = counts_.find(origin);
    return count == counts_.end() ? 0 : count->second.last + count->second.before;
  }

  void turn(Instant now) {
    if (now < next_) return;
    const bool runs = now < next_ + kWindow;
    all_ = 0;
    for (auto& [origin, count] : counts_) {
      count = {0, runs ? count.last : 0};
      all_ += count.before;
    }
    std::erase_if(counts_, [](const auto& item) { return item.second.before == 0; });
    next_ = now + kWindow;
  }

  static constexpr Duration kWindow = std::chrono::seconds(1);

  std::unordered_map<NodeId, Count> counts_;
  std::uint64_t all_ = 0;
  Instant next_{};  // when the running second ends
};

}  // namespace sedge::mesh
