#include "mesh/state_rows.h"

namespace sedge::mesh {
namespace {

wire::StateEpoch epoch_to_wire(BootEpoch epoch, const crdt::SequenceSet& set) {
  wire::StateEpoch out{epoch, {}};
  for (const auto& [first, last] : set.ranges()) out.spans.push_back({{first}, {last}});
  return out;
}

Result<crdt::SequenceSet> spans_from_wire(const std::vector<wire::StateSpan>& spans) {
  crdt::SequenceSet set;
  for (const wire::StateSpan& span : spans) {
    if (span.first.value <= set.max() || span.last < span.first) {
      return fail(Code::kDataLoss, "span {}..{} is not after {}", span.first.value, span.last.value, set.max());
    }
    set.add(span.first.value, span.last.value);
  }
  return set;
}

}  // namespace

wire::StateRow to_wire(NodeId origin, const crdt::VersionVector::Row& row) {
  wire::StateRow out{origin, row.floor, {}};
  for (const auto& [epoch, set] : row.epochs) out.epochs.push_back(epoch_to_wire(epoch, set));
  return out;
}

Result<crdt::VersionVector::Row> from_wire(const wire::StateRow& row) {
  crdt::VersionVector::Row out{row.floor, {}};
  for (const wire::StateEpoch& epoch : row.epochs) {
    if (!out.epochs.empty() && epoch.epoch <= out.epochs.rbegin()->first) {
      return fail(Code::kDataLoss, "epoch {} does not come after the one before it", epoch.epoch.value);
    }
    SEDGE_TRY(out.epochs[epoch.epoch], spans_from_wire(epoch.spans));
  }
  return out;
}

Result<crdt::VersionVector> vector_from_wire(const std::vector<wire::StateRow>& rows) {
  crdt::VersionVector vector;
  for (const wire::StateRow& row : rows) {
    SEDGE_TRY(const crdt::VersionVector::Row known, from_wire(row));
    vector.add_row(row.origin, known);
  }
  return vector;
}

Result<DotSet> dots_from_wire(const std::vector<wire::StateRow>& rows) {
  DotSet dots;
  for (const wire::StateRow& row : rows) {
    SEDGE_TRY(crdt::VersionVector::Row known, from_wire(row));
    for (auto& [epoch, set] : known.epochs) dots[{row.origin, epoch}] = std::move(set);
  }
  return dots;
}

std::vector<wire::StateRow> dots_to_wire(const DotSet& dots) {
  std::vector<wire::StateRow> rows;
  for (const auto& [of, set] : dots) {
    if (rows.empty() || rows.back().origin != of.first) rows.push_back({of.first, {}, {}});
    rows.back().epochs.push_back(epoch_to_wire(of.second, set));
  }
  return rows;
}

Result<std::vector<crdt::Dot>> dots_of(const DotSet& dots, std::size_t max) {
  std::vector<crdt::Dot> out;
  for (const auto& [of, set] : dots) {
    for (const auto& [first, last] : set.ranges()) {
      if (last - first >= max - out.size()) return fail(Code::kDataLoss, "more than {} writes are named", max);
      for (std::uint64_t i = 0; i <= last - first; ++i) out.push_back({of.first, of.second, {first + i}});
    }
  }
  return out;
}

}  // namespace sedge::mesh
