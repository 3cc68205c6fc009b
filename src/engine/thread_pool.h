// A fixed number of threads that share one loop at a time.
//
// The problem: a decode step is some dozens of matrix products of tens of microseconds each; waking a thread through
// the kernel costs as much as its share of the work. The idea: each thread has a run of neighbouring blocks and a
// 64-bit ticket (epoch, end, next block) that threads advance by compare-and-swap: its own first, so that it walks
// through memory in order as prefetchers like it, then what others have left. Idle threads watch for a new loop for a
// few tens of microseconds, then sleep. The caller works too and never waits for a sleeper: a thread that does not wake
// in time, or runs on a slow core, finds its blocks taken. Rejected: a task queue (allocation and order that nobody
// needs), OpenMP (its pool is not ours to bound or cancel).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "engine/control.h"

namespace sedge::engine {

// How many threads this machine runs at once; at least 1.
unsigned hardware_threads();

class ThreadPool {
 public:
  // `threads` counts the caller: 1 starts none. Limited to 256.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(worker, begin, end) for blocks that cover [0, count), `worker` < threads() being different for calls
  // that overlap. Returns when all have run, or, once `control` is cancelled, when those begun have: false then. While
  // it is paused no block is begun. One caller at a time.
  template <class Body>
  bool run(std::size_t count, std::size_t block, const Control* control, const Body& body) {
    return run_erased(count, block, control,
                      {&body, [](const void* self, unsigned worker, std::size_t begin, std::size_t end) {
                         (*static_cast<const Body*>(self))(worker, begin, end);
                       }});
  }

 private:
  struct Callable {
    const void* self = nullptr;
    void (*call)(const void*, unsigned, std::size_t, std::size_t) = nullptr;
  };
  struct Job {
    std::size_t count = 0, block = 1;
    const Control* control = nullptr;
    Callable body;
  };

  bool run_erased(std::size_t count, std::size_t block, const Control* control, Callable body);
  void run_block(unsigned worker, std::size_t index) const;
  void take_blocks(unsigned worker);
  void work(unsigned worker);

  std::vector<std::thread> workers_;
  Job job_;  // written only while no block is left, read only by who took one
  struct alignas(64) Ticket {
    std::atomic<std::uint64_t> value{0};
  };
  std::vector<Ticket> tickets_;            // one a thread
  std::atomic<std::uint32_t> loops_{0};    // begun so far: what idle threads watch
  std::atomic<std::uint32_t> pending_{0};  // blocks not finished
  std::atomic<bool> stop_{false};
};

}  // namespace sedge::engine
