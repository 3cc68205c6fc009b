// The merge loop of BPE: of all neighbours that may merge, join the best pair (the leftmost of equals), again and
// again. A heap holds candidates, a doubly linked list holds the symbols; an entry whose symbols have changed since
// is recognised by its length and thrown away. Every merge adds two candidates at most: O(n log n) for any text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/assert.h"

namespace sedge::model {

struct Symbol {
  std::uint32_t begin = 0, bytes = 0;  // in the text; bytes == 0: merged away
  std::int32_t prev = -1, next = -1;
  std::int32_t id = -1;  // the token that it is, -1 for none
};

struct Merge {
  std::uint32_t rank = 0;  // the smaller, the earlier
  std::int32_t id = -1;    // what the two become
};

class BpeMerger {
 public:
  void clear() { symbols_.clear(); }

  void push(std::uint32_t begin, std::uint32_t bytes, std::int32_t id) {
    const auto index = static_cast<std::int32_t>(symbols_.size());
    if (index > 0) symbols_.back().next = index;
    symbols_.push_back({begin, bytes, index - 1, -1, id});
  }

  // `merge_of(left, right)` -> std::optional<Merge>, a pure function of the two symbols. It is asked at most three
  // times a symbol.
  template <class MergeOf>
  void run(const MergeOf& merge_of) {
    heap_.clear();
    for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols_.size()); ++i) offer(i, merge_of);
    while (!heap_.empty()) {
      std::ranges::pop_heap(heap_, later);
      const Candidate best = heap_.back();
      heap_.pop_back();
      if (!still_there(best)) continue;
      join(best);
      if (at(best.left).prev >= 0) offer(at(best.left).prev, merge_of);
      offer(best.left, merge_of);
    }
  }

  // Calls `use(symbol)` for every symbol that is left, in order.
  template <class Use>
  void for_each(const Use& use) const {
    for (std::int32_t i = symbols_.empty() ? -1 : 0; i >= 0; i = symbols_[static_cast<std::size_t>(i)].next) {
      use(symbols_[static_cast<std::size_t>(i)]);
    }
  }

 private:
  struct Candidate {
    std::uint32_t rank;
    std::int32_t left;
    std::uint32_t bytes;  // of both together: differs as soon as one of them has grown
    std::int32_t id;
  };
  static bool later(const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  }

  Symbol& at(std::int32_t index) { return symbols_[static_cast<std::size_t>(index)]; }

  template <class MergeOf>
  void offer(std::int32_t left, const MergeOf& merge_of) {
    const std::int32_t right = at(left).next;
    if (right < 0) return;
    const std::optional<Merge> merge = merge_of(at(left), at(right));
    if (!merge) return;
    heap_.push_back({merge->rank, left, at(left).bytes + at(right).bytes, merge->id});
    std::ranges::push_heap(heap_, later);
  }

  bool still_there(const Candidate& candidate) {
    const Symbol& left = at(candidate.left);
    return left.bytes > 0 && left.next >= 0 && left.bytes + at(left.next).bytes == candidate.bytes;
  }

  void join(const Candidate& candidate) {
    Symbol& left = at(candidate.left);
    Symbol& right = at(left.next);
    SEDGE_ASSERT(right.bytes > 0);
    left.bytes = candidate.bytes;
    left.id = candidate.id;
    left.next = right.next;
    if (right.next >= 0) at(right.next).prev = candidate.left;
    right.bytes = 0;
  }

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace sedge::model
