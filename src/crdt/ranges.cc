#include "crdt/ranges.h"

#include <algorithm>

namespace sedge::crdt {
namespace {

// Bounds as they travel: relative to the one before, ties without their trailing zeros.
class Writer {
 public:
  bool full() const { return ranges_.size() + 2 > kRangesMax; }  // one and the gap before it

  void put(const Bound& upper, const Bound& lower, wire::StateRange range) {
    if (upper < at_) push(upper, {});
    push(lower, std::move(range));
  }
  std::vector<wire::StateRange> take() { return std::move(ranges_); }

 private:
  void push(const Bound& lower, wire::StateRange range) {
    range.back = at_.stamp - lower.stamp;
    for (std::uint64_t rest = lower.tie; rest != 0; rest <<= 8)
      range.tie.push_back(static_cast<std::uint8_t>(rest >> 56));
    ranges_.push_back(std::move(range));
    at_ = lower;
  }

  Bound at_ = kTop;
  std::vector<wire::StateRange> ranges_;
};

Result<Bound> lower_of(const Bound& upper, const wire::StateRange& range) {
  Bound lower;
  if (range.tie.size() > sizeof lower.tie || range.back > upper.stamp) {
    return fail(Code::kDataLoss, "a range {} below stamp {} with a tie of {} bytes has no bound", range.back,
                upper.stamp, range.tie.size());
  }
  lower.stamp = upper.stamp - range.back;
  for (std::size_t i = 0; i < range.tie.size(); ++i) lower.tie |= std::uint64_t{range.tie[i]} << (56 - 8 * i);
  if (lower >= upper) return fail(Code::kDataLoss, "a range does not end below the one before it");
  return lower;
}

std::array<std::uint8_t, 16> to_wire(const Digest& sum) {
  std::array<std::uint8_t, 16> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(sum.at(i / 8) >> 8 * (i % 8));
  return out;
}

wire::StateRange listed(const ItemSet& set, std::size_t from, std::size_t to) {
  wire::StateRange range;
  range.kind = wire::RangeKind::kIds;
  for (std::size_t i = from; i < to; ++i) range.ids.push_back(crdt::to_wire(set.items()[i].name()));
  return range;
}

wire::StateRange summed(const ItemSet& set, std::size_t from, std::size_t to) {
  wire::StateRange range;
  range.kind = wire::RangeKind::kFingerprint;
  range.fingerprint = to_wire(set.fingerprint(from, to));
  return range;
}

// What is said of a range whose fingerprints differ.
void split(const ItemSet& set, const Bound& lower, const Bound& upper, Writer& out) {
  const std::size_t from = set.position(lower);
  const std::size_t count = set.position(upper) - from;
  if (count <= kRangeListed) return out.put(upper, lower, listed(set, from, from + count));
  Bound above = upper;
  for (std::size_t part = kRangeSplit; part-- > 0 && !out.full();) {
    const Bound below = part == 0 ? lower : set.bound_before(from + count * part / kRangeSplit);
    if (below >= above) continue;  // two writes of one name: 2^-64
    out.put(above, below, summed(set, set.position(below), set.position(above)));
    above = below;
  }
}

void compare_list(const ItemSet& set, std::size_t from, std::size_t to, const std::vector<wire::SessionId>& ids,
                  RangesAnswer& out) {
  std::vector<std::uint64_t> theirs;
  for (const wire::SessionId& id : ids) theirs.push_back(from_wire(id));
  std::ranges::sort(theirs);
  std::vector<std::uint64_t> ours;
  for (std::size_t i = to; i-- > from;) {
    const ItemSet::Item& item = set.items()[i];
    if (std::ranges::binary_search(theirs, item.name())) {
      ours.push_back(item.name());
    } else if (out.send.size() < kSessionSends) {
      out.send.push_back(item.dot);
    }
  }
  std::ranges::sort(ours);
  for (const std::uint64_t name : theirs) {
    if (out.wants.size() < kSessionSends && !std::ranges::binary_search(ours, name)) out.wants.push_back(name);
  }
}

}  // namespace

std::vector<wire::StateRange> split_all(const ItemSet& set) {
  Writer out;
  split(set, kBottom, kTop, out);
  return out.take();
}

Result<RangesAnswer> compare_ranges(const ItemSet& set, const std::vector<wire::StateRange>& theirs) {
  if (theirs.size() > kRangesMax) return fail(Code::kDataLoss, "{} ranges; {} are allowed", theirs.size(), kRangesMax);
  RangesAnswer answer;
  Writer out;
  Bound upper = kTop;
  for (const wire::StateRange& range : theirs) {
    SEDGE_TRY(const Bound lower, lower_of(upper, range));
    const std::size_t from = set.position(lower);
    const std::size_t to = set.position(upper);
    if (range.kind == wire::RangeKind::kIds) {
      if (range.ids.size() > kRangeListed) return fail(Code::kDataLoss, "a list of {} names", range.ids.size());
      compare_list(set, from, to, range.ids, answer);
    } else if (range.kind == wire::RangeKind::kFingerprint && !out.full() &&
               range.fingerprint != to_wire(set.fingerprint(from, to))) {
      split(set, lower, upper, out);
    }
    upper = lower;
  }
  answer.ranges = out.take();
  return answer;
}

}  // namespace sedge::crdt
