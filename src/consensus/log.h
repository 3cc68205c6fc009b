// Raft's log in memory: what follows the snapshot, and a little of what the snapshot covers already, for followers that
// are only a little behind. Indices count from 1 and are never used twice for different committed entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/assert.h"
#include "wire/consensus_messages.h"

namespace sedge::consensus {

using Index = std::uint64_t;

// What an entry costs on a wire, nearly: its data and a few bytes of term, kind and length.
inline std::size_t entry_bytes(const wire::LogEntry& entry) { return entry.data.size() + 16; }

class Log {
 public:
  Index base() const { return base_; }  // the last index that is not held any more
  Index last() const { return base_ + entries_.size(); }
  wire::Term last_term() const { return entries_.empty() ? base_term_ : entries_.back().term; }
  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_; }

  // None: compacted away, or not there yet.
  std::optional<wire::Term> term_at(Index index) const {
    if (index == base_) return base_term_;
    if (index < base_ || index > last()) return std::nullopt;
    return at(index).term;
  }
  const wire::LogEntry& at(Index index) const {
    SEDGE_ASSERT(index > base_ && index <= last());
    return entries_[static_cast<std::size_t>(index - base_ - 1)];
  }

  void append(wire::LogEntry entry) {
    bytes_ += entry_bytes(entry);
    entries_.push_back(std::move(entry));
  }
  // Drops `from` and all after it.
  void truncate(Index from) {
    SEDGE_ASSERT(from > base_);
    while (last() >= from) {
      bytes_ -= entry_bytes(entries_.back());
      entries_.pop_back();
    }
  }
  // Drops all up to `upto`, which is held or the base, and is of `term`.
  void compact(Index upto, wire::Term term) {
    SEDGE_ASSERT(upto >= base_ && upto <= last());
    base_term_ = term;
    for (; base_ < upto; ++base_) {
      bytes_ -= entry_bytes(entries_.front());
      entries_.pop_front();
    }
  }
  // Nothing but what a snapshot stands for.
  void reset(Index base, wire::Term term) {
    entries_.clear();
    bytes_ = 0;
    base_ = base;
    base_term_ = term;
  }

 private:
  Index base_ = 0;
  wire::Term base_term_;
  std::deque<wire::LogEntry> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace sedge::consensus
