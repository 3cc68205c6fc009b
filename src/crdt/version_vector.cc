#include "crdt/version_vector.h"

#include <algorithm>

namespace sedge::crdt {
namespace {

// The parts of [first, last] that `known` lacks.
template <class Each>
void gaps(std::uint64_t first, std::uint64_t last, const SequenceSet* known, Each&& each) {
  if (known) {
    auto at = known->ranges().upper_bound(first);
    if (at != known->ranges().begin()) --at;
    for (; at != known->ranges().end() && at->first <= last; ++at) {
      if (at->second < first) continue;
      if (at->first > first) each(first, at->first - 1);
      if (at->second >= last) return;
      first = at->second + 1;
    }
  }
  each(first, last);
}

}  // namespace

bool SequenceSet::contains(std::uint64_t sequence) const {
  const auto after = ranges_.upper_bound(sequence);
  return after != ranges_.begin() && std::prev(after)->second >= sequence;
}

void SequenceSet::add(std::uint64_t first, std::uint64_t last) {
  auto at = ranges_.upper_bound(first);
  if (at != ranges_.begin() && std::prev(at)->second >= first - 1) --at;  // touches the one before; first >= 1
  while (at != ranges_.end() && at->first - 1 <= last) {
    first = std::min(first, at->first);
    last = std::max(last, at->second);
    at = ranges_.erase(at);
  }
  ranges_.emplace_hint(at, first, last);
}

const VersionVector::Row* VersionVector::row(NodeId origin) const {
  const auto at = rows_.find(origin);
  return at == rows_.end() ? nullptr : &at->second;
}

bool VersionVector::contains(const Dot& dot) const {
  const Row* const known = row(dot.origin);
  if (!known) return false;
  if (dot.epoch < known->floor) return true;
  const auto at = known->epochs.find(dot.epoch);
  return at != known->epochs.end() && at->second.contains(dot.sequence.value);
}

bool VersionVector::complete(const Dot& upto) const {
  const Row* const known = row(upto.origin);
  if (!known) return false;
  if (upto.epoch < known->floor) return true;
  const auto at = known->epochs.find(upto.epoch);
  if (at == known->epochs.end() || at->second.ranges().empty()) return false;
  const auto& [first, last] = *at->second.ranges().begin();
  return first == 1 && last >= upto.sequence.value;
}

bool VersionVector::has_holes() const {
  const auto holed = [](const auto& life) {
    const auto& ranges = life.second.ranges();
    return ranges.size() > 1 || (!ranges.empty() && ranges.begin()->first != 1);
  };
  return std::ranges::any_of(rows_, [&](const auto& row) { return std::ranges::any_of(row.second.epochs, holed); });
}

void VersionVector::add(const Dot& dot) {
  Row& known = rows_[dot.origin];
  if (dot.epoch < known.floor) return;
  known.epochs[dot.epoch].add(dot.sequence.value, dot.sequence.value);
  bound(known);
}

bool VersionVector::cover(const DotRange& range) {
  const auto at = rows_.find(range.origin);
  if (at == rows_.end() || at->second.epochs.empty() || range.first.value == 0 || range.last < range.first)
    return false;
  Row& known = at->second;
  const auto& [newest, set] = *known.epochs.rbegin();
  if (range.epoch < known.floor || range.epoch > newest) return false;
  const std::uint64_t last = range.epoch == newest ? std::min(range.last.value, set.max()) : range.last.value;
  if (range.first.value > last) return false;
  bool news = false;
  gaps(range.first.value, last, &known.epochs[range.epoch], [&](std::uint64_t, std::uint64_t) { news = true; });
  if (!news) return false;
  known.epochs[range.epoch].add(range.first.value, last);
  bound(known);
  return true;
}

std::vector<DotRange> VersionVector::minus(const VersionVector& other, std::size_t max) const {
  std::vector<DotRange> out;
  for (const auto& [origin, mine] : rows_) {
    const Row* const theirs = other.row(origin);
    for (const auto& [epoch, set] : mine.epochs) {
      if (theirs && epoch < theirs->floor) continue;
      const SequenceSet* known = nullptr;
      if (theirs && theirs->epochs.contains(epoch)) known = &theirs->epochs.at(epoch);
      for (const auto& [first, last] : set.ranges()) {
        gaps(first, last, known, [&](std::uint64_t from, std::uint64_t to) {
          if (out.size() < max) out.push_back({origin, epoch, {from}, {to}});
        });
        if (out.size() == max) return out;
      }
    }
  }
  return out;
}

void VersionVector::add_row(NodeId origin, const Row& row) {
  Row& known = rows_[origin];
  known.floor = std::max(known.floor, row.floor);
  for (const auto& [epoch, set] : row.epochs) {
    for (const auto& [first, last] : set.ranges()) known.epochs[epoch].add(first, last);
  }
  known.epochs.erase(known.epochs.begin(), known.epochs.lower_bound(known.floor));
  bound(known);
}

void VersionVector::bound(Row& row) {
  for (auto& [epoch, set] : row.epochs) {
    while (set.ranges().size() > kRangesMax) set.forget_last();
  }
  while (row.epochs.size() > kEpochsMax) {
    row.epochs.erase(row.epochs.begin());
    row.floor = row.epochs.begin()->first;
  }
}

}  // namespace sedge::crdt
