// Messages on their way from a program's threads to the node's loop.
//
// A call to the loop that waits for its answer costs two thread switches, 20 to 50 us a message. A message needs no
// answer that its publisher could not have had before: so it is checked where it is published, put behind the others,
// and the loop takes all there are at its next turn. One lane a class (reliable or not or for all, priority), so that
// what a full link holds up holds up nothing else; a lane is bounded, and full it refuses. Threads: push() from any;
// drain() from one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "env/link.h"

namespace sedge::platform {

struct QueuedMessage {
  std::string_view topic;  // both valid within the call
  Bytes payload;
  bool reliable = true;
  env::Priority priority = env::Priority::kNormal;
  Instant until = kNever;  // then it is worth nothing any more
  bool for_all = false;    // a reliable one that waits for slow links
};

class PublishQueue {
 public:
  static constexpr std::size_t kLaneBytesMax = 4u << 20;

  // True: the loop may be asleep and must be told, once until it drains.
  // Errors: ResourceExhausted: the lane is full; nothing was taken. Try again a little later.
  Result<bool> push(const QueuedMessage& message);

  // Hands over message after message, the most urgent lanes first, until none are left or `take` returns false: then
  // that one stays first in its lane, and the other lanes go on.
  void drain(const std::function<bool(const QueuedMessage&)>& take);

  std::size_t bytes();  // that wait
  // Whether push() has told the loop since the last drain(). From any thread, at no cost.
  bool told() const { return told_.load(std::memory_order_relaxed); }

 private:
  struct Lane {
    Buffer waiting;  // of push(), under the mutex
    Buffer taken;    // of drain() alone
    std::size_t at = 0;
    std::size_t held = 0;  // bytes in `taken` behind `at`, as push() knows them
    bool collect();
  };
  static constexpr std::size_t kLanes = 3 * env::kPriorities;
  void hand_over(std::size_t index, const std::function<bool(const QueuedMessage&)>& take);

  std::mutex mutex_;
  std::array<Lane, kLanes> lanes_;
  std::atomic<bool> told_ = false;
};

}  // namespace sedge::platform
