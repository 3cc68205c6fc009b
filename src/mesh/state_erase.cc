// StateSync's erasing: of one entry, or of a whole subtree.
//
// Paths are the nesting of the replicated map: robot/7/pose and robot/7/tasks are one robot. To erase robot/7/# is to
// write what ends each thing that is seen there now: an empty write of a register or a log, a removal of each element
// of a set. So it merges as those do: what another node writes there at the same time, without having seen this, stays
// (observed-remove), and half of a subtree never comes back by itself. Elements of a 2P-set are out for good. Counters
// are never erased. Rejected: one tombstone for a prefix: it would have to carry what it had seen of every writer, for
// ever.
#include <algorithm>

#include "mesh/state_sync.h"
#include "mesh/topic.h"

namespace sedge::mesh {
namespace {

using crdt::Family;
using crdt::Op;
using crdt::OpKind;

bool is_filter(std::string_view where) { return where.find_first_of("+#") != std::string_view::npos; }

}  // namespace

// The writes that end what is at one path. None: a counter, or a set without elements.
struct StateSync::Erasing {
  std::string path;
  OpKind kind = OpKind::kRegister;
  std::int64_t keep = 0;                        // of a log
  std::vector<std::optional<Buffer>> writes{};  // of a set its elements, else one without a value
};

StateSync::Erasing StateSync::erasing(const std::string& path, Family family, const crdt::Value* value,
                                      std::uint64_t keep) {
  switch (family) {
    case Family::kRegister:
      return {path, OpKind::kRegister, 0, {std::nullopt}};
    case Family::kMulti:
      return {path, OpKind::kMulti, 0, {std::nullopt}};
    case Family::kLog:
      return {path, OpKind::kAppend, static_cast<std::int64_t>(keep), {std::nullopt}};
    case Family::kSet:
    case Family::k2PSet: {
      Erasing elements{path, family == Family::kSet ? OpKind::kRemove : OpKind::kRemove2P};
      if (value) elements.writes.assign(value->values.begin(), value->values.end());
      return elements;
    }
    case Family::kCounter:
      break;
  }
  return {path};
}

// What is on its way to the disk counts too: it may be all that is there. An empty register is erased again.
StateSync::Erasing StateSync::erasing_one(const std::string& path) const {
  const auto value = replica_.read(path);
  const auto staged = std::find_if(staged_.rbegin(), staged_.rend(), [&](const auto& s) { return s.op.path == path; });
  const crdt::Value* const there = value ? &*value : nullptr;
  if (staged != staged_.rend()) return erasing(path, crdt::family_of(staged->op.kind), there, staged->op.plus);
  return erasing(path, there ? there->family : Family::kRegister, there, there ? there->keep : 0);
}

std::vector<StateSync::Erasing> StateSync::erasing_all(std::string_view filter) const {
  std::vector<Erasing> all;
  replica_.for_each("", [&](const std::string& path, const crdt::Value& value) {
    if (!path.starts_with("sys/") && matches(filter, path)) {
      all.push_back(erasing(path, value.family, &value, value.keep));
    }
  });
  return all;
}

Result<Ticket> StateSync::erase(std::string_view where, Instant now) {
  std::vector<Erasing> all;
  if (is_filter(where)) {
    SEDGE_CHECK(check_filter(where));
    all = erasing_all(where);
    if (all.empty()) return fail(Code::kNotFound, "nothing is written where '{}' chooses", where);
  } else {
    all.push_back(erasing_one(std::string(where)));
  }
  SEDGE_CHECK(check_erasing(where, all));
  Result<Ticket> last = ticket_;
  for (const Erasing& one : all) {
    for (const auto& value : one.writes) {
      last = write(one.kind, one.path, value, one.keep, now);
      if (!last) return last;  // no room: what was written until here stands, and the rest can be erased later
    }
  }
  return last;
}

// So that half of a subtree is not erased and the other refused.
Status StateSync::check_erasing(std::string_view where, const std::vector<Erasing>& all) const {
  std::size_t writes = 0;
  for (const Erasing& one : all) {
    writes += one.writes.size();
    if (one.writes.empty()) continue;
    Op op;
    op.path = one.path;
    op.kind = one.kind;
    SEDGE_CHECK(may_write(options_.self, op));
  }
  if (writes == 0) {
    return fail(Code::kFailedPrecondition,
                "'{}' has counters only, or sets without elements: a counter is never erased; "
                "add what takes it to 0",
                where);
  }
  if (const std::size_t room = options_.unacknowledged_max - std::min(staged_.size(), options_.unacknowledged_max);
      writes > room) {
    return fail(Code::kResourceExhausted,
                "to erase '{}' takes {} writes, and {} may wait for the disk: erase a part at a "
                "time",
                where, writes, room);
  }
  return {};
}

}  // namespace sedge::mesh
