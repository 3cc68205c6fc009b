#include "crdt/session.h"

#include <algorithm>

#include "crdt/ranges.h"

namespace sedge::crdt {

wire::StateSketch Session::sketch(std::size_t first, std::size_t last) const {
  wire::StateSketch message{set_.key(), set_.size(), first, {}};
  for (const Symbol& symbol : code_.encode(set_, first, last)) message.symbols.push_back(crdt::to_wire(symbol));
  return message;
}

wire::StateRanges Session::open_with_ranges() const { return {set_.key(), split_all(set_)}; }

SessionAnswer Session::more_symbols(std::size_t first, std::size_t last) const {
  SessionAnswer answer;
  answer.want = wire::StateWant{set_.key(), first, last - first, {}};
  return answer;
}

SessionAnswer Session::found(const SketchCode::Difference& difference) const {
  SessionAnswer answer;
  answer.send = set_.find(difference.removed);
  if (difference.added.empty()) return answer;
  answer.want = wire::StateWant{set_.key(), 0, 0, {}};
  for (const std::uint64_t name : difference.added) answer.want->ids.push_back(crdt::to_wire(name));
  return answer;
}

Result<SessionAnswer> Session::on_sketch(const wire::StateSketch& message) {
  const std::size_t count = message.symbols.size();
  if (count == 0 || count > kSketchSymbolsMax || message.first > kSketchSymbolsMax - count) {
    return fail(Code::kDataLoss, "a sketch of {} symbols from number {}; {} are allowed", count, message.first,
                kSketchSymbolsMax);
  }
  if (message.first == 0) difference_.clear();
  // What was heard before is gone (the set was made again), or this came twice.
  if (message.first != difference_.size()) return more_symbols(0, kSketchSteps[0]);
  const std::vector<Symbol> ours = code_.encode(set_, difference_.size(), difference_.size() + count);
  for (std::size_t i = 0; i < count; ++i) difference_.push_back(crdt::from_wire(message.symbols[i]) - ours[i]);
  if (const auto difference = code_.decode(difference_)) return found(*difference);

  const std::uint64_t size = set_.size();
  const std::uint64_t least = message.items > size ? message.items - size : size - message.items;
  const auto* const step = std::ranges::upper_bound(kSketchSteps, difference_.size());
  if (step != kSketchSteps.end() && least < kSketchSymbolsMax / 2) return more_symbols(difference_.size(), *step);
  SessionAnswer answer;
  answer.ranges = open_with_ranges();
  return answer;
}

Result<SessionAnswer> Session::on_ranges(const wire::StateRanges& message) const {
  SEDGE_TRY(RangesAnswer found, compare_ranges(set_, message.ranges));
  SessionAnswer answer;
  answer.send = std::move(found.send);
  if (!found.ranges.empty()) answer.ranges = wire::StateRanges{set_.key(), std::move(found.ranges)};
  if (found.wants.empty()) return answer;
  answer.want = wire::StateWant{set_.key(), 0, 0, {}};
  for (const std::uint64_t name : found.wants) answer.want->ids.push_back(crdt::to_wire(name));
  return answer;
}

Result<SessionAnswer> Session::on_want(const wire::StateWant& message) const {
  if (message.first > kSketchSymbolsMax || message.symbols > kSketchSymbolsMax - message.first ||
      message.ids.size() > kSessionSends) {
    return fail(Code::kDataLoss, "{} symbols from number {} and {} writes are wanted; {} and {} are allowed",
                message.symbols, message.first, message.ids.size(), kSketchSymbolsMax, kSessionSends);
  }
  SessionAnswer answer;
  if (message.symbols > 0) answer.sketch = sketch(message.first, message.first + message.symbols);
  std::vector<std::uint64_t> names;
  for (const wire::SessionId& id : message.ids) names.push_back(crdt::from_wire(id));
  answer.send = set_.find(std::move(names));
  return answer;
}

}  // namespace sedge::crdt
