// Who has sent how much of what goes through here, lately: so that only those are told to wait whose sending makes it
// too much.
//
// The problem: a link that is full says so to everybody behind it, and one member that floods would silence all others.
// The idea: bytes are counted by origin, over one to two seconds; who has sent less than half of an equal part of them
// all is not what fills the link. Rejected: a queue an origin and link, served in turn (a fleet's worth of queues on
// each of six links, for what is rarely full).
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/id.h"
#include "base/time.h"

namespace sedge::mesh {

class Shares {
 public:
  // Origins are members, so that there are no more of them than the fleet has.
  void add(NodeId origin, std::size_t bytes, Instant now) {
    turn(now);
    last_[origin] += bytes;
  }

  // Whether it has sent half of an equal part, or more.
  bool above(NodeId origin, Instant now) {
    turn(now);
    std::uint64_t all = 0, own = 0;
    std::size_t senders = last_.size();
    for (const auto& [id, bytes] : last_) all += bytes, own += id == origin ? bytes : 0;
    for (const auto& [id, bytes] : before_) {
      all += bytes, own += id == origin ? bytes : 0;
      senders += last_.contains(id) ? 0 : 1;
    }
    return own > 0 && 2 * own * senders >= all;
  }

 private:
  void turn(Instant now) {
    if (now < next_) return;
    before_ = now < next_ + kWindow ? std::exchange(last_, {}) : Counts{};
    last_.clear();
    next_ = now + kWindow;
  }

  using Counts = std::unordered_map<NodeId, std::uint64_t>;
  static constexpr Duration kWindow = std::chrono::seconds(1);

  Counts last_, before_;  // of the running second, and of the one before it
  Instant next_{};        // when it ends
};

}  // namespace sedge::mesh
