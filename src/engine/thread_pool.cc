#include "engine/thread_pool.h"

#include <algorithm>

namespace sedge::engine {
namespace {

constexpr unsigned kThreadsMax = 256;
constexpr int kSpins = 2000;  // about 30 µs: longer than the gap between two products, shorter than a time slice

// A ticket: epoch (24 bits) | end (20) | next block (20). The epoch tells a loop's tickets from those of the one
// before.
constexpr unsigned kFieldBits = 20;
constexpr std::uint64_t kFieldMax = (1u << kFieldBits) - 1;
constexpr std::uint64_t next_of(std::uint64_t ticket) { return ticket & kFieldMax; }
constexpr std::uint64_t end_of(std::uint64_t ticket) { return ticket >> kFieldBits & kFieldMax; }
constexpr std::uint64_t epoch_of(std::uint64_t ticket) { return ticket >> (2 * kFieldBits); }
constexpr std::uint64_t make_ticket(std::uint64_t epoch, std::uint64_t next, std::uint64_t end) {
  return epoch << (2 * kFieldBits) | end << kFieldBits | next;
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `seen`: awake first, then asleep.
template <class T>
void wait_while(const std::atomic<T>& value, T seen) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != seen) return;
    relax();
  }
  value.wait(seen, std::memory_order_acquire);
}

}  // namespace

unsigned hardware_threads() { return std::max(1u, std::thread::hardware_concurrency()); }

ThreadPool::ThreadPool(unsigned threads) : tickets_(std::clamp(threads, 1u, kThreadsMax)) {
  workers_.reserve(tickets_.size() - 1);
  for (unsigned worker = 1; worker < tickets_.size(); ++worker) workers_.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  loops_.fetch_add(1, std::memory_order_release);
  loops_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_block(unsigned worker, std::size_t index) const {
  if (job_.control != nullptr && !job_.control->go_on()) return;
  const std::size_t begin = index * job_.block;
  job_.body.call(job_.body.self, worker, begin, std::min(begin + job_.block, job_.count));
}

void ThreadPool::take_blocks(unsigned worker) {
  for (std::size_t i = 0; i < tickets_.size(); ++i) {
    std::atomic<std::uint64_t>& ticket = tickets_[(worker + i) % tickets_.size()].value;
    std::uint64_t seen = ticket.load(std::memory_order_acquire);
    while (next_of(seen) < end_of(seen)) {
      // Success means that the block is of the present loop: job_ stands until it is reported finished.
      if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      run_block(worker, next_of(seen));
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
      seen = ticket.load(std::memory_order_acquire);
    }
  }
}

void ThreadPool::work(unsigned worker) {
  while (!stop_.load(std::memory_order_relaxed)) {
    const std::uint32_t loop = loops_.load(std::memory_order_acquire);  // before looking: a later one is not missed
    take_blocks(worker);
    if (!stop_.load(std::memory_order_relaxed)) wait_while(loops_, loop);
  }
}

bool ThreadPool::run_erased(std::size_t count, std::size_t block, const Control* control, Callable body) {
  block = std::max({block, std::size_t{1}, count / kFieldMax + 1});
  const std::size_t blocks = (count + block - 1) / block;
  job_ = {count, block, control, body};
  if (workers_.empty() || blocks <= 1) {
    for (std::size_t i = 0; i < blocks; ++i) run_block(0, i);
  } else {
    pending_.store(static_cast<std::uint32_t>(blocks), std::memory_order_relaxed);
    for (std::size_t i = 0; i < tickets_.size(); ++i) {
      std::atomic<std::uint64_t>& ticket = tickets_[i].value;
      const std::uint64_t epoch = epoch_of(ticket.load(std::memory_order_relaxed)) + 1;
      const std::uint64_t next = blocks * i / tickets_.size(), end = blocks * (i + 1) / tickets_.size();
      ticket.store(make_ticket(epoch, next, end), std::memory_order_release);
    }
    loops_.fetch_add(1, std::memory_order_release);
    loops_.notify_all();
    take_blocks(0);
    for (std::uint32_t left = 0; (left = pending_.load(std::memory_order_acquire)) != 0;) wait_while(pending_, left);
  }
  return control == nullptr || !control->cancelled();
}

}  // namespace sedge::engine
