#include "engine/memory_budget.h"

#include <algorithm>

namespace sedge::engine {

std::size_t MemoryBudget::take(std::size_t bytes) {
  std::size_t taken = taken_.load(std::memory_order_relaxed);
  for (;;) {
    const std::size_t bound = bytes_max(), free = bound - std::min(bound, taken);
    if (bytes > free) return bytes - free;
    if (taken_.compare_exchange_weak(taken, taken + bytes, std::memory_order_relaxed)) return 0;
  }
}

std::size_t MemoryBudget::take_first(std::size_t bytes) {
  const std::size_t taken = taken_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  return taken - std::min(taken, bytes_max());
}

}  // namespace sedge::engine
