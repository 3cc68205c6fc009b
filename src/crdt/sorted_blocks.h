// A sorted sequence of small values (pointers) that takes little more room than they do.
//
// Blocks of up to kBlockMax values lie in order, and the list of blocks is searched first. A value costs its own bytes
// and a tenth, where a node of a balanced tree has three pointers, a colour and an allocation. What is inserted at the
// end fills blocks to the brim. A block grows by a few values at a time, gives back what it does not need, and is
// joined with its neighbour when it has become small: whoever inserts and erases on purpose can make a value cost as
// much again. Order is the caller's: it asks for the first value that does not lie before what it looks for, and
// inserts there. Of pointers, what both values point to that may be compared next is fetched while one is compared.
// Rejected: B-trees of more levels. With a million values the list has some 11,000 blocks, and one insertion in sixty
// moves up to 260 KB of it. Cost: search O(log n) comparisons; insert and erase move a block, and at times the list.
// Threads: none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "base/assert.h"

namespace sedge::crdt {

template <class T>
  requires std::is_trivially_copyable_v<T>
class SortedBlocks {
 public:
  // Good until the next insertion or erasure.
  struct Position {
    std::size_t block = 0;
    std::size_t index = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Position begin() const { return {}; }
  Position end() const { return {blocks_.size(), 0}; }
  Position next(Position at) const { return ++at.index < blocks_[at.block].size() ? at : Position{at.block + 1, 0}; }
  Position previous(Position at) const {
    if (at.index > 0) return {at.block, at.index - 1};
    return {at.block - 1, blocks_[at.block - 1].size() - 1};
  }
  const T& operator[](Position at) const { return blocks_[at.block][at.index]; }
  T& operator[](Position at) { return blocks_[at.block][at.index]; }

  // The first value for which before(value) is false. Requires: it is true for those up to some place, and then never.
  template <class Before>
  Position search(const Before& before) const {
    if (empty() || before(blocks_.back().back())) return end();
    const std::size_t over = partition(blocks_.size(), [&](std::size_t i) { return blocks_[i].front(); }, before);
    if (over == 0) return begin();
    const Block& block = blocks_[over - 1];
    const std::size_t at = partition(block.size(), [&](std::size_t i) { return block[i]; }, before);
    return at == block.size() ? Position{over, 0} : Position{over - 1, at};
  }

  // Before `at`.
  void insert(Position at, T value) {
    ++size_;
    if (at.index == 0 && at.block > 0) at = {at.block - 1, blocks_[at.block - 1].size()};
    if (blocks_.empty()) blocks_.emplace_back();
    if (blocks_[at.block].size() == kBlockMax) at = split(at);
    Block& block = blocks_[at.block];
    if (block.size() == block.capacity())
      block.reserve(std::min(kBlockMax, block.size() + std::clamp<std::size_t>(block.size(), 1, kStep)));
    block.insert(block.begin() + offset(at.index), value);
  }

  void erase(Position at) {
    --size_;
    Block& block = blocks_[at.block];
    block.erase(block.begin() + offset(at.index));
    if (block.empty()) {
      blocks_.erase(blocks_.begin() + offset(at.block));
    } else if (block.size() >= kBlockMax / 4 || !(join(at.block) || (at.block > 0 && join(at.block - 1)))) {
      if (block.capacity() - block.size() > 2 * kStep) block.shrink_to_fit();
    }
  }

 private:
  using Block = std::vector<T>;
  static constexpr std::size_t kBlockMax = 124;  // values; with 8 bytes each, what the allocator has at hand
  static constexpr std::size_t kStep = 16;

  // How many of the first `size` values, one after the other, lie before.
  template <class Get, class Before>
  static std::size_t partition(std::size_t size, const Get& get, const Before& before) {
    std::size_t low = 0;
    while (size > 0) {
      const std::size_t half = size / 2;
      const std::size_t middle = low + half;
      const std::size_t above = size - half - 1;
      if constexpr (std::is_pointer_v<T>) {
        if (half > 0) __builtin_prefetch(get(low + half / 2));
        if (above > 0) __builtin_prefetch(get(middle + 1 + above / 2));
      }
      if (before(get(middle))) {
        low = middle + 1;
        size = above;
      } else {
        size = half;
      }
    }
    return low;
  }

  static std::ptrdiff_t offset(std::size_t index) { return static_cast<std::ptrdiff_t>(index); }

  // Makes room in a full block, and says where `at` is then. What comes in order leaves full blocks behind.
  Position split(Position at) {
    const bool last = at.block + 1 == blocks_.size() && at.index == kBlockMax;
    const std::size_t half = last ? kBlockMax : kBlockMax / 2;
    Block& block = blocks_[at.block];
    Block upper(block.begin() + offset(half), block.end());
    block.resize(half);
    block.shrink_to_fit();
    blocks_.insert(blocks_.begin() + offset(at.block + 1), std::move(upper));
    return at.index < half || (at.index == half && !last) ? at : Position{at.block + 1, at.index - half};
  }

  // Takes the next block in, where there is room for more than both.
  bool join(std::size_t index) {
    if (index + 1 == blocks_.size() || blocks_[index].size() + blocks_[index + 1].size() > kBlockMax * 3 / 4)
      return false;
    blocks_[index].insert(blocks_[index].end(), blocks_[index + 1].begin(), blocks_[index + 1].end());
    blocks_[index].shrink_to_fit();
    blocks_.erase(blocks_.begin() + offset(index + 1));
    return true;
  }

  std::vector<Block> blocks_;
  std::size_t size_ = 0;
};

}  // namespace sedge::crdt
