// What the running texts of a node and its remembered beginnings may take together.
//
// The problem: a text's keys and values are touched as they fill, and a system promises memory that it has not got; who
// touches the last of it ends the whole process. The idea: whoever may grow takes all that it can grow to from one sum
// before it begins, so that the text that is too much is refused, and the others go on. Rejected: counting what is
// touched (the refusal would come in the middle of an answer); asking the system what is free (others will want it).
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace sedge::engine {

// Any thread calls it.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  std::size_t bytes_max() const { return bytes_max_.load(std::memory_order_relaxed); }
  std::size_t taken() const { return taken_.load(std::memory_order_relaxed); }
  // What is taken stays so, even if it is more.
  void set_bytes_max(std::size_t bytes_max) { bytes_max_.store(bytes_max, std::memory_order_relaxed); }

  // Takes `bytes`, or none of them: how many are missing.
  std::size_t take(std::size_t bytes);
  // Takes them in any case, from who can give back as much at once: how far the sum is over the bound.
  std::size_t take_first(std::size_t bytes);
  void give_back(std::size_t bytes) { taken_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t> bytes_max_;
  std::atomic<std::size_t> taken_{0};
};

// Bytes that were taken, given back when it goes.
class MemoryShare {
 public:
  MemoryShare() = default;
  MemoryShare(std::shared_ptr<MemoryBudget> budget, std::size_t bytes) : budget_(std::move(budget)), bytes_(bytes) {}
  MemoryShare(MemoryShare&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryShare& operator=(MemoryShare&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryShare() {
    if (budget_ != nullptr) budget_->give_back(bytes_);
  }

 private:
  std::shared_ptr<MemoryBudget> budget_;
  std::size_t bytes_ = 0;
};

}  // namespace sedge::engine
