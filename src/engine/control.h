// What somebody else says to a computation, which looks at it between row blocks: go on, wait, or give up.
//
// A pass that waits keeps all it has: its threads sleep where they are, and whoever let it wait has the cores until
// resume(). So nothing is computed twice, and nothing has to be carried elsewhere, for the sake of what cannot wait.
#pragma once

#include <atomic>
#include <cstdint>

namespace sedge::engine {

class Control {
 public:
  explicit Control(bool cancelled = false) : word_(cancelled ? kCancelled : 0) {}

  void cancel() { set(kCancelled); }  // for good
  void pause() { set(kPaused); }
  void resume() {
    word_.fetch_and(~kPaused, std::memory_order_release);
    word_.notify_all();
  }

  // For the computation. go_on() sleeps while it is paused and not cancelled; false: cancelled.
  bool cancelled() const { return (word_.load(std::memory_order_relaxed) & kCancelled) != 0; }
  bool go_on() const {
    for (std::uint32_t word; (word = word_.load(std::memory_order_acquire)) != 0;) {
      if ((word & kCancelled) != 0) return false;
      word_.wait(word, std::memory_order_acquire);
    }
    return true;
  }

 private:
  static constexpr std::uint32_t kPaused = 1, kCancelled = 2;
  void set(std::uint32_t bit) {
    word_.fetch_or(bit, std::memory_order_release);
    word_.notify_all();
  }
  std::atomic<std::uint32_t> word_;
};

}  // namespace sedge::engine
